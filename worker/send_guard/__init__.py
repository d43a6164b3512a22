"""What keeps payouts from being sent for a while: pauses, breaker, EPAY's limits, pace."""
