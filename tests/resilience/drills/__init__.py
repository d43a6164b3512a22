"""Faults of Redis, PostgreSQL, beat and workers over real processes; then the money is counted."""
