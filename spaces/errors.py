"""The one error root, and the error that means the user's input is wrong."""


class LoratoryError(Exception):
    """Anything loratory refuses or fails at; the command line prints it and exits with `exit_status`."""

    exit_status = 1


class InputError(LoratoryError):
    """Input that a person can mend: the message says the rule, the value, the place and the remedy."""

    exit_status = 2
