"""How money moves, in pure functions: no I/O, no clock, no randomness. Start with `lifecycle`."""
