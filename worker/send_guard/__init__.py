"""What holds payouts back for a while: pauses, circuit breaker, EPAY's limits, rate limit."""
