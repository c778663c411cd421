"""The audit trail: what happened to codes, one row for each event, to be read in the admin."""
