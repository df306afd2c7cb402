"""The one exception that a user's mistake raises."""


class InputError(Exception):
    """Something the user gave cannot be used: one line that names the thing and the remedy.

    Commands print it without a traceback and exit with status 2.
    """
