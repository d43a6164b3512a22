"""Real servers and processes on this machine, for the demo, `payouts dev` and the tests.

PostgreSQL and Redis come out of wheels (the `local` extra); nothing here is imported in production.
"""
