"""Opening what somebody named: a file on a disk, and nothing whose reading may never end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from bccli.core.errors import DataError

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class NotAFileError(OSError):
    """What is there is no regular file; `kind` says what it is."""

    def __init__(self, path: Path | str, kind: str) -> None:
        super().__init__(errno.EINVAL, f"is {kind} and not a file", os.fspath(path))
        self.kind = kind


def open_file(path: Path | str) -> BinaryIO:
    """A regular file, or what a link to one leads to, opened for reading.

    Raises NotAFileError for a pipe, a device or a socket, of which nothing is read, IsADirectoryError for a
    folder, and OSError and ValueError as `open` does.
    """
    _check(os.stat(path).st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # lest it became a pipe meanwhile
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path | str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            raise NotAFileError(path, kind)


def read_bytes(path: Path | str, most: int) -> bytes:
    """All bytes of a regular file. Raises DataError for more than `most`, OSError as `open_file`."""
    with open_file(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise DataError(
            f"{path}: is larger than {most:,} bytes, the most that is read; is it the right file?"
        )
    return data


def explained(error: OSError) -> str:
    """Why a file cannot be opened, in words that follow its path."""
    if isinstance(error, NotAFileError):
        return f"is {error.kind} and not a file"
    return (error.strerror or str(error)).lower()
