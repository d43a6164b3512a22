"""The `payouts` command."""
