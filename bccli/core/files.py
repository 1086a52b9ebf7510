"""How results reach the disk: complete or not at all."""

import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bccli.core.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary stream whose content becomes `path` at the end of the block, or not at all.

    The bytes go to a temporary name in the same folder, are flushed to the disk and renamed. What is
    no regular file (a terminal, a pipe, /dev/null) is written to directly. An OSError carries the path.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    temporary = path.with_name(f".{path.name}.{_unique()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and str(error.filename or temporary) == str(temporary):
            error.filename = str(path)
        raise


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Like `replacing`, for writers that want a path of their own: yields the temporary one, same ending."""
    temporary = path.with_name(f".{path.stem}.{_unique()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if str(error.filename or temporary) == str(temporary):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _unique() -> int:
    """A number that no other process uses, nor one on another node of a shared file system."""
    return int.from_bytes(os.urandom(6), "big")


_TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")


def is_temporary(path: Path) -> bool:
    """Whether `path` has the name of a file that `replacing` or `replacing_file` had not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, *, older: float = 0) -> None:
    """Remove what killed processes left half-written in `folder`, if it is `older` than so many seconds.

    Without `older`, the caller must hold the folder's lock: another process's file may be in the making.
    """
    for path in folder.glob(".*.tmp*"):
        with suppress(OSError):
            if is_temporary(path) and time.time() - path.stat().st_mtime >= older:
                path.unlink()


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


def write_into(folder: Path, name: str, data: bytes) -> None:
    """Write `data` to the file `name` of `folder`, and make the folders in between.

    Neither a temporary name nor a flush: for one of thousands of files that a journal, written later,
    vouches for. Raises DataError where the file would lie outside of `folder`, or is a link.
    """
    path = inside(folder, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", opener=_not_through_a_link) as stream:
            stream.write(data)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(f"{path}: is a link; remove it") from None
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
    write_text(path, to_json(value, indent=2) + "\n")


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
