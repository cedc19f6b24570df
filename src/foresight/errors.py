"""The one exception that reaches a user as a message instead of a traceback."""


class UserError(ValueError):
    """Input that a user can mend: says what was wrong, where, and what would be right.

    The command line prints it and exits with code 2. Broken invariants of the
    program itself stay `AssertionError` and keep their traceback.
    """
