"""What went wrong in a way that the person at the terminal can mend."""

from __future__ import annotations

from sqlalchemy.exc import ProgrammingError, SQLAlchemyError


class UserError(Exception):
    """The text says what was wrong, and what to do."""

    exit_code = 2


class Forbidden(UserError):
    """A rule forbids what was asked for; the text names it."""

    exit_code = 3


def unreadable(error: SQLAlchemyError) -> UserError:
    """What to tell of a database that could not be read."""
    if isinstance(error, ProgrammingError):
        return UserError("the database has not the tables of this version: run `payouts migrate`")
    words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return UserError(f"the database could not be read at DATABASE_URL: {words}")
