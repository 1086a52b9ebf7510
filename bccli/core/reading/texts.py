"""JSON, TOML and lines of text that others wrote: bounded in size and depth, with errors in a sentence."""

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from io import TextIOBase, TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from bccli.core.errors import DataError
from bccli.core.reading.limits import JSON_BYTES, JSON_DEPTH, TABLE_LINE, TOML_BYTES, TOML_DOTS
from bccli.core.reading.regular_files import open_file, read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, most: int) -> str:
    """A text in UTF-8, with or without a mark, or in UTF-16 with one.

    Raises DataError where it is larger than `most` bytes, UnicodeError for other encodings, OSError.
    """
    data = read_bytes(path, most)
    text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    if "\0" in text:
        raise DataError(f"{path}: is no text but a binary file; name a text")
    return text


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises DataError where there is none, it is damaged, or too large or deep.

    Bytes that are not UTF-8 survive, as names of files may have such.
    """
    try:
        return parse_json(read_bytes(path, JSON_BYTES))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); restore the file or make it again") from None


def parse_json(data: bytes) -> Any:
    """The value of JSON. Raises ValueError for what is none, too deep, or has a number that is not finite."""
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    text = data.decode(encoding, "surrogateescape" if encoding == "utf-8-sig" else "strict")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_shallow(value, JSON_DEPTH):
        raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def is_shallow(value: Any, depth: int) -> bool:
    """Whether lists and dicts in a value are nested at most so deeply."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        if not level:
            return True
    return False


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ValueError for what is none or too deep, DataError, OSError."""
    text = read_text(path, TOML_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip()[:1] != "#" and line.partition("=")[0].count(".") > TOML_DOTS:
            raise ValueError(f"the key in line {number} has more than {TOML_DOTS} dots")
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_shallow(content, TOML_DOTS):
        raise ValueError(f"it is nested deeper than {TOML_DOTS} levels")
    return content


def table_rows(path: Path, remedy: str, needed: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table that bccli wrote, with the number of the line that each ends in.

    Cells that are missing are empty. Raises DataError with the `remedy` where it is damaged or has not the
    columns `needed`, OSError.
    """
    with open_file(path) as raw, TextIOWrapper(raw, "utf-8", "surrogateescape", newline="") as stream:
        reader = csv.DictReader(lines_of(stream, str(path)), restval="")
        try:
            if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise DataError(f"{path}: column {missing[0]!r} is missing; {remedy}")
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path} row {reader.line_num}: not valid CSV ({error}); {remedy}") from None


def lines_of(stream: TextIOBase, where: str) -> Iterator[str]:
    """Yield the lines of a table with their ends. Raises DataError for one that is longer than any is."""
    number = 0
    while line := stream.readline(TABLE_LINE + 1):
        number += 1
        if len(line) > TABLE_LINE:
            raise DataError(
                f"{where}: line {number} has more than {TABLE_LINE:,} characters; "
                "is it a table with commas, semicolons or tabs?"
            )
        yield line
