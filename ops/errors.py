"""What went wrong in a way that the person at the terminal can mend."""


class UserError(Exception):
    """The text says what was wrong, and what to do."""
