"""What stops a command, beside bugs. `cli.run_command` turns each into one line and an exit status."""


class InputError(Exception):
    """Something the user gave cannot be used: one line that names the thing and the remedy (exit status 2)."""


class NonFiniteError(Exception):
    """A loss, a gradient or the state became NaN or infinite (exit status 3)."""


class InterruptedRunError(Exception):
    """A signal asked the run to stop; it saved a checkpoint and left (exit status 75)."""
