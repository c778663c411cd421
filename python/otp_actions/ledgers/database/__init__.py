"""``OTP_LEDGER = "database"``: exact across processes and hosts, durable, on the database that is there anyway."""
