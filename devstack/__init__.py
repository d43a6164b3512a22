"""PostgreSQL, Redis and processes on this machine, for the demo, `payouts dev` and the tests.

The servers come from wheels (the `local` extra). The service itself imports nothing from here.
"""
