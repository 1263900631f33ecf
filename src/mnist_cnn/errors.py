"""The one error that users cause themselves."""


class InputError(Exception):
    """Configuration, data or a file that cannot be used.

    The message is one line: it names the key or file, the value, and the remedy. Commands print it without a stack
    trace and exit with code 1.
    """


class BusyError(InputError):
    """Another process is at it: the same thing can be tried again later."""
