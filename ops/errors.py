"""Errors whose text tells the person at the terminal what to do."""

from __future__ import annotations


class UserError(Exception):
    """The text says what was wrong, and what to do."""

    exit_code = 2


class Forbidden(UserError):
    """A rule forbids the action; the text names it."""

    exit_code = 3
