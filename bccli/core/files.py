"""How results reach the disk: complete or not at all."""

import ctypes
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bccli.core.errors import DataError


@contextmanager
def replacing(path: Path, *, through: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary stream whose content becomes `path` at the end of the block, or not at all.

    The bytes go to a temporary name in the same folder, are flushed to the disk and renamed. Where a user
    has named the path, what is no regular file (a terminal, a pipe, /dev/null) is written `through` to; in
    a run or a cache, where a stranger may have put it, it is replaced. An OSError carries the path.
    """
    if through and path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    with _becoming(path) as (_, stream):
        yield stream
        stream.flush()


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Like `replacing`, for writers that want a path of their own: yields the temporary one, same ending."""
    with _becoming(path, path.suffix) as (temporary, _):
        yield temporary


@contextmanager
def _becoming(path: Path, ending: str = "") -> Iterator[tuple[Path, IO[bytes]]]:
    """A temporary file that becomes `path` at the end of the block, by its name and as a stream."""
    temporary = None
    try:
        temporary, stream = begin(path, ending)
        with stream:
            yield temporary, stream
            os.fsync(stream.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            named = Path(os.fsdecode(error.filename)) if error.filename else temporary
            if named is None or is_temporary(named):
                error.filename, error.filename2 = str(path), None
        raise


def begin(path: Path, ending: str = "") -> tuple[Path, IO[bytes]]:
    """A new temporary file, and a stream into it that locks it, so that nobody takes it for abandoned.

    What a killed process left in the folder goes when this one first writes there.
    """
    folder = os.path.abspath(path.parent)
    if folder not in _SWEPT:
        sweep(path.parent, own=True)
        _SWEPT.add(folder)
    while True:
        temporary = path.with_name(f".{path.name.removesuffix(ending)}.{_unique()}.tmp{ending}")
        stream = temporary.open("xb")
        with suppress(OSError):  # where a file system knows no locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, stream
        stream.close()  # somebody swept between our open and our lock


def _unique() -> int:
    """A number that no other process uses, nor one on another node, and that tells this node from most."""
    return _node() << 48 | int.from_bytes(os.urandom(6), "big")


def _node() -> int:
    """A number of 17 bits for this node, so that ours are longer than those of other programs."""
    return 0x10000 | zlib.crc32(os.uname().nodename.encode()) & 0xFFFF


_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp(\.\w+)?")
_ABANDONED = 3600
"""Seconds after which a temporary file belongs to nobody, where its writer's lock cannot be seen."""
_SWEPT: set[str] = set()
"""Folders in which this process has looked for abandoned files."""


def is_temporary(path: Path) -> bool:
    """Whether `path` has the name of a file that `replacing` or `replacing_file` had not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, *, own: bool = False) -> None:
    """Remove what killed processes left half-written in `folder`; what others are writing stays.

    In a folder that may not be bccli's, only what certainly is its `own`.
    """
    with suppress(OSError):
        for path in folder.glob(".*.tmp*"):
            if is_temporary(path) and (_node_of(path) or not own):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(OSError), path.open("rb+") as stream:
        seen = _node_of(path) in (0, _node())  # a lock of another node may not be seen here
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer lives
        except OSError:
            seen = False
        if seen or time.time() - path.stat().st_mtime >= _ABANDONED:
            path.unlink()


def _node_of(path: Path) -> int:
    """The node on which a temporary file was made; 0 for one that another program may have made."""
    number = _TEMPORARY.fullmatch(path.name)
    return int(number[1]) >> 48 if number else 0


def leaves_folder(name: str) -> bool:
    """Whether a relative name, with `/` between folders, could lead out of the folder that it is joined to.

    A backslash and a drive count, too: another system reads them as a way out.
    """
    segments = name.split("/")
    return not segments[0] or ".." in segments or "\\" in name or "\0" in name or segments[0][1:2] == ":"


def inside(folder: Path, name: str) -> Path:
    """Where the file `name` lies in `folder`. Raises DataError where it would lie outside, links followed."""
    path = folder / name
    real = os.path.realpath(folder)
    if leaves_folder(name) or os.path.commonpath([real, os.path.realpath(path.parent)]) != real:
        raise DataError(f"{path}: leaves the folder {folder}; remove the link")
    return path


@contextmanager
def unless_gone() -> Iterator[None]:
    """Pass over what is done with a file or folder that is no more, also where another node has removed it
    behind our back: NFS calls a handle to such a one stale."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there, with all that is in it.

    Raises NotADirectoryError for anything else: of a pipe, `shutil.rmtree` waits for whoever writes into it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def write_into(folder: Path, name: str, data: bytes) -> None:
    """Write `data` to the file `name` of `folder`, and make the folders in between.

    Neither a temporary name nor a flush: for one of thousands of files that a journal, written later,
    vouches for. Raises DataError where the file would lie outside of `folder`, or is a link.
    """
    path = inside(folder, name)
    try:
        with naming(path):
            make_between(folder, path.parent)
            with open(path, "wb", opener=_not_through_a_link) as stream:
                stream.write(data)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(f"{path}: is a link; remove it") from None
        raise


def settle(folder: Path) -> None:
    """Have all that was written to the file system of `folder` on the disk before this returns.

    One call for many small files: on ext4 it takes 0.1 ms for each, where fsync takes 6.
    """
    with naming(folder):
        number = os.open(folder, os.O_RDONLY)
        try:
            _sync(number)
        finally:
            os.close(number)


def _sync(number: int) -> None:
    """`syncfs` where the system has it for this file system, else `sync`."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        os.sync()
    elif library.syncfs(number) != 0:
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            os.sync()
        else:
            raise OSError(code, os.strerror(code))


def make_between(folder: Path, last: Path) -> None:
    """Make the folders below `folder` down to `last`. Raises OSError where `folder` itself has gone."""
    if last != folder and not last.is_dir():
        make_between(folder, last.parent)
        last.mkdir(exist_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError that names no file gets this one."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data`."""
    with replacing(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` in UTF-8; file names that are not UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as indented JSON."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as indented JSON."""
    return to_json(value, indent=2) + "\n"


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON, which knows no number that is not finite: such are null."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def to_toml(command: str, values: Mapping[str, Any]) -> str:
    """A recipe with one table; None is left out, since TOML knows no such value."""
    given = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items() if value is not None}
    return "\n".join([f"[{command}]", *(f"{key} = {text}" for key, text in given.items())]) + "\n"
