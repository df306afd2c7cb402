"""Errors that end a command, and the exit statuses of every command.

`runtime.ending.report` turns each error into one line and its status.
"""

# A scheduler may start a STALLED or INTERRUPTED run again as it is.
DONE, FAILED, BAD_INPUT, NON_FINITE, STALLED, INTERRUPTED = 0, 1, 2, 3, 70, 75


class InputError(Exception):
    """Unusable input: one line that names the thing and the remedy (exit status 2)."""


class NonFiniteError(Exception):
    """NaN or infinity in the loss, the gradients or the state (exit status 3)."""


class StalledRunError(Exception):
    """A run that does not go on, or whose processes came to differ; started again, it continues (exit status 70)."""


class InterruptedRunError(Exception):
    """A run stopped by a signal, after saving what the same command continues from (exit status 75)."""
