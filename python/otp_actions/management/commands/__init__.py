"""The commands of the base app."""
