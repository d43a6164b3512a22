"""Every override of kombu and Celery internals, with the private names that it relies on."""
