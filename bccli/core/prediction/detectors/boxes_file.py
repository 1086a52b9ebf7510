"""The boxes that a detector has found in val and test, and the true lesions there, as files of its run."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bccli.core.data.foreign_tables import real, whole
from bccli.core.data.image_batches import decode_sized
from bccli.core.data.manifest import Sample
from bccli.core.detection.boxes import ScoredBox, area
from bccli.core.detection.lesions import Lesion, find_lesions
from bccli.core.errors import DataError, ImageError
from bccli.core.files import write_text
from bccli.core.imaging.equalising import Box
from bccli.core.reading.limits import TABLE_LINE
from bccli.core.runs.run_folder import BOXES_FILE, LESIONS_FILE

_KEY = ("path", "split")
_EDGES = ("left", "top", "right", "bottom")
_LONGEST = 100_000
"""Characters of a mask; Python's reader of CSV takes 131,072 in a cell."""


@dataclass(frozen=True)
class Detected:
    """What is known of a prepared image by its `path`, as one of a `split`: the boxes that were found in it
    and its lesions, in pixels.

    In runs of folds, an image is of val for one network and of test for another.
    """

    path: str
    boxes: tuple[ScoredBox, ...]
    lesions: tuple[Lesion, ...]
    split: str = ""


def lesions_in(root: Path, sample: Sample, size: tuple[int, int]) -> tuple[Lesion, ...]:
    """The lesions of a prepared image of a `size` (width, height), none without a mask.

    Raises DataError for a mask that marks no place.
    """
    if not sample.mask:
        return ()
    try:
        return tuple(find_lesions([decode_sized(root / name, size)[..., 0] > 127 for name in sample.masks]))
    except ImageError as error:
        raise DataError(f"{root / sample.masks[0]}: {error}") from None


def write_detected(root: Path, found: Iterable[Detected]) -> None:
    """Write boxes.csv and lesions.csv; the mask of a lesion is stored by the lengths of its runs."""
    boxes, lesions = [], []
    for one in found:
        boxes += [[one.path, one.split, *each.box, f"{each.score:.9g}"] for each in one.boxes]
        lesions += [[one.path, one.split, *each.box, each.area, _runs(each.mask)] for each in one.lesions]
    _write(root / BOXES_FILE, [*_KEY, *_EDGES, "score"], boxes)
    _write(root / LESIONS_FILE, [*_KEY, *_EDGES, "area", "mask"], lesions)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_detected(boxes: Path, lesions: Path, size: tuple[int, int]) -> list[Detected]:
    """Read what `write_detected` wrote of images of a `size` (width, height): those with a box or a lesion.

    Raises DataError for other files.
    """
    found = _read(boxes, ("score",), _scored, size)
    true = _read(lesions, ("area", "mask"), _lesion, size)
    return [
        Detected(path, tuple(found.get((path, split), ())), tuple(true.get((path, split), ())), split)
        for path, split in dict.fromkeys([*found, *true])
    ]


_Thing = TypeVar("_Thing")


def _read(
    path: Path,
    more: Sequence[str],
    make: Callable[[Box, Sequence[str]], _Thing],
    size: tuple[int, int],
) -> dict[tuple[str, str], list[_Thing]]:
    """What `make` makes of the box and the `more` cells of each row, by the path and split of its image."""
    found: dict[tuple[str, str], list[_Thing]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in _checked(csv.reader(stream), [*_KEY, *_EDGES, *more]):
                found.setdefault((row[0], row[1]), []).append(make(_box(row[2:6], size), row[6:]))
    except (ValueError, csv.Error):
        raise DataError(f"{path}: is not what bccli writes there; copy the whole folder again") from None
    return found


def _checked(rows: Iterator[list[str]], header: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows below a header. Raises ValueError for other ones."""
    if next(rows, None) != header:
        raise ValueError
    for row in rows:
        if len(row) != len(header) or sum(map(len, row)) > TABLE_LINE:
            raise ValueError
        yield row


def _box(cells: Sequence[str], size: tuple[int, int]) -> Box:
    """The box in an image. Raises ValueError for one that is none, or beyond it."""
    box = Box(*map(whole, cells))
    if not (0 <= box.left < box.right <= size[0] and 0 <= box.top < box.bottom <= size[1]):
        raise ValueError
    return box


def _scored(box: Box, cells: Sequence[str]) -> ScoredBox:
    score = real(cells[0])
    if not 0 <= score <= 1:
        raise ValueError
    return ScoredBox(box, score)


def _lesion(box: Box, cells: Sequence[str]) -> Lesion:
    pixels, mask = whole(cells[0]), _mask(cells[1], (box.bottom - box.top, box.right - box.left))
    if not 0 < pixels <= area(box) or (mask is not None and mask.sum() != pixels):
        raise ValueError
    return Lesion(box, pixels, mask)


def _runs(mask: np.ndarray | None) -> str:
    """The lengths of the runs of a mask, row by row, the first of pixels that are not marked.

    Nothing where there are more of them than a cell of a table can have: the box then stands for the lesion.
    """
    if mask is None:
        return ""
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    text = " ".join(map(str, np.diff(np.concatenate([[0], ends])).tolist()))
    return text if len(text) <= _LONGEST else ""


def _mask(text: str, shape: tuple[int, int]) -> np.ndarray | None:
    if not text:
        return None
    lengths = [whole(part) for part in text.split()]
    if min(lengths) < 0 or sum(lengths) != shape[0] * shape[1]:
        raise ValueError
    marked = np.arange(len(lengths)) % 2 == 1
    return np.repeat(marked, lengths).reshape(shape)
