"""A day's payouts, asked for at EPAY while somebody waits: the walk, the sums, the CSV."""
