"""Benchmarks: this service beside bare Celery and beside the usual ways. `python -m bench`."""
