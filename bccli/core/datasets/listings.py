"""Lists of two columns beside the images of a dataset: image and class, or image and patient."""

import csv
from collections.abc import Iterator
from pathlib import Path

from bccli.core.datasets.walking import is_image_name
from bccli.core.errors import DataError

_MARKS = "\t;,"


def read_pairs(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, first and second cell of each line; tab, semicolon or comma part them.

    Raises DataError where the file cannot be read or a line has no two cells.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check its name and permissions"
        ) from None
    except ValueError:
        raise DataError(f"{path}: is not text; save it as CSV with two columns") from None
    for number, line in enumerate(lines, 1):
        mark = next((mark for mark in _MARKS if mark in line), ",")
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark), [])]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0]:
            raise DataError(f"{path} line {number}: {line!r} is not two columns; correct it")
        yield number, cells[0], cells[1]


def key_of(name: str) -> str:
    """A path in small letters with `/` and without the ending of an image, by which lists and images meet."""
    path = name.replace("\\", "/").strip("/").lower()
    return path.rpartition(".")[0] if is_image_name(path) else path


def stem_of(name: str) -> str:
    """`key_of` without folders."""
    return key_of(name).rpartition("/")[2]
