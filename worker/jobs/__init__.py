"""The bodies of the tasks: plain functions of a `Context`, one module for each task."""
