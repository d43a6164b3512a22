"""Logging, health of the service, checks at start."""
