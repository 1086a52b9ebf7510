"""The boxes that a detector has found in val and test, and the true lesions there, as files of its run."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from bccli.core.runs.run_folder import BOXES_FILE, FILMS_FILE, LESIONS_FILE

_KEY = ("path", "split")
_EDGES = ("left", "top", "right", "bottom")
_LONGEST = 100_000
"""Characters of a mask; Python's reader of CSV takes 131,072 in a cell."""


@dataclass(frozen=True)
class Detected:
    """What is known of a prepared image by its `path`, or of a film in tiles by its source, as one of a
    `split`: the boxes that were found in it and its lesions, in pixels.

    In runs of folds, an image is of val for one network and of test for another. Of a film in tiles, `shape`
    is its height and width as far as these reach.
    """

    path: str
    boxes: tuple[ScoredBox, ...]
    lesions: tuple[Lesion, ...]
    split: str = ""
    shape: tuple[int, int] | None = None


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
    """Write boxes.csv and lesions.csv; the mask of a lesion is stored by the lengths of its runs.

    Of films in tiles also films.csv, which has all of them, and how large they are.
    """
    boxes, lesions, films = [], [], []
    for one in found:
        films += [[one.path, one.split, *one.shape[::-1]]] if one.shape else []
        boxes += [[one.path, one.split, *each.box, f"{each.score:.9g}"] for each in one.boxes]
        lesions += [[one.path, one.split, *each.box, each.area, _runs(each.mask)] for each in one.lesions]
    _write(root / BOXES_FILE, [*_KEY, *_EDGES, "score"], boxes)
    _write(root / LESIONS_FILE, [*_KEY, *_EDGES, "area", "mask"], lesions)
    if films:
        _write(root / FILMS_FILE, [*_KEY, "width", "height"], films)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_detected(
    boxes: Path, lesions: Path, size: tuple[int, int], films: Path | None = None
) -> list[Detected]:
    """Read what `write_detected` wrote of images of a `size` (width, height): those with a box or a lesion.

    Where there are `films`, of all of these, each of its own size. Raises DataError for other files.
    """
    sizes = None if films is None else _sizes(films)

    def size_of(key: _Key) -> tuple[int, int]:
        return size if sizes is None else sizes.get(key, (0, 0))

    found = _read(boxes, ("score",), _scored, size_of)
    true = _read(lesions, ("area", "mask"), _lesion, size_of)
    return [
        Detected(
            key[0], tuple(found.get(key, ())), tuple(true.get(key, ())), key[1],
            sizes[key][::-1] if sizes else None,
        )
        for key in dict.fromkeys([*(sizes or ()), *found, *true])
    ]  # fmt: skip


_Key = tuple[str, str]
"""The path and the split of an image."""


def _sizes(path: Path) -> dict[_Key, tuple[int, int]]:
    """The size (width, height) of each film. Raises DataError for another file."""
    found = {}
    with _belonging_to(path), path.open(encoding="utf-8", newline="") as stream:
        for row in _checked(csv.reader(stream), [*_KEY, "width", "height"]):
            found[row[0], row[1]] = whole(row[2]), whole(row[3])
            if min(found[row[0], row[1]]) < 1:
                raise ValueError
    return found


@contextmanager
def _belonging_to(path: Path) -> Iterator[None]:
    """Say of what cannot be read in which file it is."""
    try:
        yield
    except (ValueError, csv.Error):
        raise DataError(f"{path}: is not what bccli writes there; copy the whole folder again") from None


_Thing = TypeVar("_Thing")


def _read(
    path: Path,
    more: Sequence[str],
    make: Callable[[Box, Sequence[str]], _Thing],
    size_of: Callable[[_Key], tuple[int, int]],
) -> dict[_Key, list[_Thing]]:
    """What `make` makes of the box and the `more` cells of each row, by the path and split of its image."""
    found: dict[_Key, list[_Thing]] = {}
    with _belonging_to(path), path.open(encoding="utf-8", newline="") as stream:
        for row in _checked(csv.reader(stream), [*_KEY, *_EDGES, *more]):
            key = row[0], row[1]
            found.setdefault(key, []).append(make(_box(row[2:6], size_of(key)), row[6:]))
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
