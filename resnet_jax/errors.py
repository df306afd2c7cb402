"""Errors that end a command: `cli.run_command` turns each into one line and an exit status."""


class InputError(Exception):
    """Unusable input: one line that names the thing and the remedy (exit status 2)."""


class NonFiniteError(Exception):
    """NaN or infinity in the loss, the gradients or the state (exit status 3)."""


class InterruptedRunError(Exception):
    """A run stopped by a signal, after saving a checkpoint (exit status 75)."""
