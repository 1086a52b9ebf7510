"""The sizes of a prepared dataset's files: a cheap look at whether they are still what was written."""

import os
from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.dataset import MANIFEST_FILE, DatasetInfo
from bccli.core.errors import DataError
from bccli.core.reading.texts import table_rows


def total_bytes(root: Path) -> int:
    """The bytes of all images and masks of a dataset. Raises DataError for one that is missing or empty."""
    total = 0
    for name in _names(root):
        try:
            size = os.stat(root / name).st_size
        except FileNotFoundError:
            raise DataError(f"{root / name}: is missing; {_REMEDY}") from None
        if not size:
            raise DataError(f"{root / name}: is empty, as after a power failure; {_REMEDY}")
        total += size
    return total


def check_sizes(root: Path, info: DatasetInfo) -> None:
    """Raises DataError where files are missing, empty, or longer or shorter than they were written."""
    if info.bytes is not None and (found := total_bytes(root)) != info.bytes:
        raise DataError(
            f"{root}: its images and masks have {found:,} bytes, and {info.bytes:,} were written; {_REMEDY}"
        )


_REMEDY = "copy the dataset again, or prepare it again with --overwrite"


def _names(root: Path) -> Iterator[str]:
    try:
        for _, row in table_rows(root / MANIFEST_FILE, _REMEDY):
            yield from (row[column] for column in ("path", "mask") if row.get(column))
    except FileNotFoundError:
        raise DataError(f"{root / MANIFEST_FILE}: is missing; {_REMEDY}") from None
