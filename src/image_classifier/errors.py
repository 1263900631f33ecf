"""Errors that a user can correct."""


class InputError(Exception):
    """A configuration, a data set or a file cannot be used.

    The message is one line that names the key or file, the value and the remedy. Commands print it without a stack
    trace and exit with code 1.
    """


class BusyError(InputError):
    """Another process holds a lock; the same command can succeed later."""
