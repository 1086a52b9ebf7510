"""Zip archives that others made: what is in them is looked at before anything is unpacked."""

import errno
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bccli.core.errors import BccliError, DataError, first_line
from bccli.core.files import leaves_folder
from bccli.core.reading.limits import (
    ARCHIVE_INDEX,
    ARCHIVE_MEMBERS,
    ARCHIVE_RATIO,
    ARRAYS_BYTES,
    SMALL_MEMBER,
)
from bccli.core.reading.regular_files import explained, open_file

_REMEDY = "copy the whole folder again"


class ArchiveError(Exception):
    """What is wrong with an archive, in words that follow its path."""


@dataclass(frozen=True)
class Bounds:
    """What an archive may have in it: bytes in all, and a pattern of its members' names."""

    most: int
    names: str = ".*"


_END, _END_SIZE, _LONGEST_COMMENT = b"PK\x05\x06", 22, 2**16
_LOCATOR, _END_64, _LOCATOR_SIZE = b"PK\x06\x07", b"PK\x06\x06", 20


def open_archive(stream: IO[bytes], bounds: Bounds) -> zipfile.ZipFile:
    """An archive in a file that is open. Raises ArchiveError where it is damaged or beyond its bounds."""
    if _index_size(stream) > ARCHIVE_INDEX:
        raise ArchiveError(f"has an index of more than {ARCHIVE_INDEX:,} bytes")
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, EOFError, OSError) as error:
        raise ArchiveError(f"is no whole archive ({first_line(error)})") from None
    _check_members(archive.infolist(), bounds)
    return archive


def _index_size(stream: IO[bytes]) -> int:
    """How many bytes an archive's end says that its index has, before `zipfile` reads all of them."""
    size = stream.seek(0, 2)
    start = stream.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT - _LOCATOR_SIZE))
    tail = stream.read()
    stream.seek(0)
    place = tail.rfind(_END)
    if place < 0 or len(tail) < place + _END_SIZE:
        raise ArchiveError("is no whole archive (its end is missing)")
    found: int = struct.unpack_from("<L", tail, place + 12)[0]
    if tail[max(0, place - _LOCATOR_SIZE) : place].startswith(_LOCATOR):
        (offset,) = struct.unpack_from("<Q", tail, place - _LOCATOR_SIZE + 8)
        if offset >= start + place:
            raise ArchiveError("is no whole archive (its end is damaged)")
        stream.seek(offset)
        record = stream.read(56)
        stream.seek(0)
        if record.startswith(_END_64) and len(record) == 56:
            found = max(struct.unpack_from("<Q", record, 40)[0], 0 if found == 2**32 - 1 else found)
    return found


def _check_members(members: list[zipfile.ZipInfo], bounds: Bounds) -> None:
    if len(members) > ARCHIVE_MEMBERS:
        raise ArchiveError(f"has {len(members):,} members, more than {ARCHIVE_MEMBERS:,}")
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ArchiveError("has a member twice")
    for member in members:
        shown = repr(member.filename[:60])
        if leaves_folder(member.filename) or not re.fullmatch(bounds.names, member.filename):
            raise ArchiveError(f"has the member {shown}, which does not belong there")
        if member.flag_bits & 1:
            raise ArchiveError(f"has the member {shown}, which is encrypted")
        if member.file_size > max(SMALL_MEMBER, ARCHIVE_RATIO * member.compress_size):
            raise ArchiveError(f"has the member {shown}, of which {member.file_size:,} bytes would come")
    total = sum(member.file_size for member in members)
    if total > bounds.most:
        raise ArchiveError(f"would unpack to {total:,} bytes, more than {bounds.most:,}")


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a member. Raises ArchiveError where it is missing, damaged or larger than `most`."""
    try:
        with archive.open(name) as member:
            data = member.read(most + 1)
    except KeyError:
        raise ArchiveError(f"has no {name}") from None
    except Exception as error:  # each method of compression has errors of its own
        raise ArchiveError(f"is damaged ({first_line(error)})") from None
    if len(data) > most:
        raise ArchiveError(f"has a {name} of more than {most:,} bytes")
    return data


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their names; see `open_arrays`."""
    with open_arrays(path) as content:
        return dict(content)


@contextmanager
def open_arrays(
    path: Path, most: int = ARRAYS_BYTES, remedy: str = _REMEDY
) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an .npz file by their names, each read where it is asked for; of `most` bytes in all.

    The shapes in the headers are compared with the members' sizes before an array is made. Nothing is
    unpickled. Raises DataError with the `remedy` for a damaged one, or one of other objects, also within the
    block, and OSError where too many files are open.
    """
    try:
        with open_file(path) as stream, open_archive(stream, Bounds(most, r".*\.npy")) as archive:
            for member in archive.infolist():
                _check_header(archive, member)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as content:
                yield content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}") from None
    except ArchiveError as error:
        raise _unreadable(path, str(error), remedy) from None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise _unreadable(path, explained(error), remedy) from None
    except (BccliError, MemoryError):
        raise
    except Exception as error:  # NumPy's and zlib's are of many kinds
        raise _unreadable(path, f"is damaged: {first_line(error)}", remedy) from None


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raises ArchiveError for an array of other objects or of another size than its member."""
    shown = repr(member.filename[:60])
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ArchiveError(f"has the array {shown} in a format that is not known")
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise ArchiveError(f"has the array {shown} of pickled objects, which are never read")
        size = dtype.itemsize
        for length in shape:
            size *= length
        if min(shape, default=0) < 0 or not 0 <= size <= member.file_size:
            raise ArchiveError(f"has the array {shown} whose shape and size differ")


def _unreadable(path: Path, reason: str, remedy: str) -> DataError:
    return DataError(f"{path}: cannot be read, as it {reason}; {remedy}")
