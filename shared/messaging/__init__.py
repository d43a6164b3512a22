"""Celery on Redis: the options of every process, and the message of a callback."""
