"""What stands between a request and the rule: reading fields, entering, rendering errors."""
