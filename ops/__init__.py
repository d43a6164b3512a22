"""For people: the `payouts` command."""
