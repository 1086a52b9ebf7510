"""Tables as other tools write them: their encodings, separators, and words for splits and patients."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import BinaryIO, TextIO

from bccli.core.data.patients import known_patient, plain_number
from bccli.core.errors import DataError
from bccli.core.reading.texts import lines_of

SEPARATORS = ",;\t|"
_HEAD = 10
_SPLITS = {
    "train": re.compile(r"train(?:ing)?"),
    "val": re.compile(r"val(?:id(?:ation)?)?"),
    "test": re.compile(r"test(?:ing)?"),
}
_BEHIND = re.compile(r"[\s_-]*(?:set|split|data|images)$")


@contextmanager
def text_of(stream: BinaryIO) -> Iterator[TextIO]:
    """A stream of bytes as text, UTF-8 unless its beginning says UTF-16; bytes that are no text survive.

    The stream is left open.
    """
    buffered = io.BufferedReader(stream)  # type: ignore[type-var]  # what has readinto will do
    encoding = encoding_of(buffered.peek(1 << 12)[: 1 << 12])
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    text = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
    try:
        yield text
    finally:
        text.detach()
        buffered.detach()


def encoding_of(start: bytes) -> str:
    """The encoding of a text that begins with these bytes: by its mark, or UTF-16 by its many zeros."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) // 8 and min(even, odd) == 0:
        return "utf-16-be" if even else "utf-16-le"
    return "utf-8-sig"


def records(lines: Iterable[str], where: str, wanted: Sequence[str]) -> tuple[str, Iterator[list[str]]]:
    """The separator of a table, and its rows of cells, the first being the one that the `wanted` columns
    stand in. Raises DataError for a binary file."""
    rest = lines_of(lines, where) if isinstance(lines, io.TextIOBase) else iter(lines)
    first = list(islice(rest, _HEAD))  # a binary file is told before its first line is taken for a header
    if any("\0" in line for line in first):
        raise DataError(
            f"{where}: is no text but a binary file; give a CSV with the columns {','.join(wanted)}"
        )
    start = next((number for number, line in enumerate(first) if line.strip("\ufeff \t\r\n,;")), 0)
    first = [line.removeprefix("\ufeff") for line in first[start:]]
    if first and (named := re.fullmatch(r"sep=(.)\s*", first[0])):
        return named[1], csv.reader(_checked(chain(first[1:], rest), where), delimiter=named[1])
    try:
        separator = _separator(first[0] if first else "", wanted)
    except csv.Error as error:
        raise DataError(f"{where}: not valid CSV in its first line ({error}); is it a table?") from None
    return separator, csv.reader(_checked(chain(first, rest), where), delimiter=separator)


def _separator(header: str, wanted: Sequence[str]) -> str:
    """The one that separates the most of the wanted columns, or else the most columns."""

    def index(separator: str) -> tuple[int, int]:
        cells = [cell.strip().casefold() for cell in next(csv.reader([header], delimiter=separator), [])]
        return sum(name in cells for name in wanted), len(cells)

    return max(SEPARATORS, key=index)


def _checked(lines: Iterable[str], where: str) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise DataError(f"{where}: is no text but a binary file; give a CSV")
        yield line


def split_of(name: str) -> str:
    """train, val or test for a name such as Train, validation or test_set; empty for any other."""
    text = name.strip().lower()
    for known in (text, _BEHIND.sub("", text)):
        for split, pattern in _SPLITS.items():
            if pattern.fullmatch(known):
                return split
    return ""


def patients_named(cells: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Patients as text, "" where unknown, and the spellings of those that were written in several ways.

    Whole numbers that differ only in leading zeros or a trailing .0 are one patient.
    """
    spellings: dict[str, list[str]] = {}
    names = {cell: known_patient(cell) for cell in set(cells)}
    for name in sorted(set(names.values()) - {""}):
        spellings.setdefault(plain_number(name), []).append(name)
    several = {number: found for number, found in spellings.items() if len(found) > 1}
    one = {name: number for number, found in several.items() for name in found}
    shared = {cell: one.get(name, name) for cell, name in names.items()}
    return [shared[cell] for cell in cells], several


def number_in(text: str, separator: str) -> float:
    """A number, with a comma for the point where another character separates the cells, or a percent sign.

    Raises ValueError for what is none.
    """
    try:
        return real(text)
    except ValueError:
        bare = text.strip()
        percent = bare.endswith("%")
        if separator != ",":
            bare = bare.replace(",", ".")
        return real(bare.removesuffix("%")) / (100 if percent else 1)


_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


def real(text: str) -> float:
    """A number in the digits 0 to 9. Raises ValueError for `1_000`, `infinity`, `nan` and other digits.

    >>> real(" 2.5e-1 ")
    0.25
    """
    if not _REAL.fullmatch(bare := text.strip()):
        raise ValueError(f"{text!r} is no number")
    return float(bare)


def whole(text: str) -> int:
    """A whole number in the digits 0 to 9. Raises ValueError for anything else.

    >>> whole("007")
    7
    """
    if not _WHOLE.fullmatch(bare := text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(bare)
