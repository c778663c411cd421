"""One-time passwords for Django and Django REST Framework."""

__version__ = "0.2.0"
