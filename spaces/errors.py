"""The root of all errors, and the error for wrong input."""


class LoratoryError(Exception):
    """An operation that loratory refuses or that fails; the command line exits with `exit_status`."""

    exit_status = 1


class InputError(LoratoryError):
    """Wrong input; the message names the rule, the value, the place and the remedy."""

    exit_status = 2
