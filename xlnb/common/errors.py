""""""


class InputError(Exception):
    """Bad input: a file, a record, a preset key. The command line prints it and exits with 2."""
