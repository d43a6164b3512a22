"""Faults of Redis, PostgreSQL, beat and workers, played over real processes; the money is counted."""
