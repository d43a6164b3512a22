"""A CSV file of payouts: read, validate, compare with the database, send, report."""
