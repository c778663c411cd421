"""The table of the audit trail, version by version."""
