"""A CSV file of payouts: read, judged row by row, held against history, sent, answered for."""
