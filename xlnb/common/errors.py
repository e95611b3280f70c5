"""The exceptions a user is meant to read, what is wrong, where, and what to do, in one line; and
the operating system's errors in such words."""

import errno
import os

AGAIN = "then start again, finished work is kept"

REMEDIES = {
    errno.ENOSPC: f"no space left on the disk; free some and {AGAIN.removeprefix('then ')}",
    errno.EDQUOT: f"the disk quota is used up; free some space, {AGAIN}",
    errno.EROFS: "a read-only file system; name another folder",
    errno.EACCES: "no permission; change the rights, or name another folder",
    errno.EPERM: "not permitted; change the rights, or name another folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder; name another folder",
    errno.EEXIST: "there is a file of this name already; name another folder",
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a folder, where a file was expected; name the file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EMFILE: f"too many open files; raise the limit (ulimit -n), {AGAIN}",
    errno.EIO: f"the disk has failed to read or write (Input/output error); look after it, {AGAIN}",
}


class InputError(Exception):
    """Bad input: a file, a record, a preset key. The command line prints it and exits with 2."""


class UnfitText(InputError):
    """A text that a model cannot be given as it is. Where texts are many, it is left out and
    counted."""


def system_error(error: OSError, where: str | os.PathLike = "") -> InputError:
    """An error of the operating system with the file (`where`, else as it says) and what to do."""
    place = f"{where or error.filename or 'the operating system'}"
    said = error.strerror or f"{error}" or type(error).__name__
    return InputError(f"{place}: {REMEDIES.get(error.errno or 0, f'{said}; mend it, {AGAIN}')}")
