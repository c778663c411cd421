"""The table, and how it came to be."""
