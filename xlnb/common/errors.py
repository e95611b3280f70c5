"""The exceptions a user is meant to read: what is wrong, where, and what to do, in one line."""


class InputError(Exception):
    """Bad input: a file, a record, a preset key. The command line prints it and exits with 2."""


class UnfitText(InputError):
    """A text that a model cannot be given as it is. Where texts are many, it is left out and
    counted."""
