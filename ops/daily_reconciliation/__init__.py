"""The comparison of a day's payouts with EPAY on demand: queries, totals, CSV."""
