"""manage.py."""
