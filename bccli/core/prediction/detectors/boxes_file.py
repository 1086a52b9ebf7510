"""The boxes that a detector has found in val and test, and the true lesions there, as files of its run."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from bccli.core.data.foreign_tables import real
from bccli.core.data.image_batches import decode_sized
from bccli.core.data.manifest import Sample
from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import Lesion, find_lesions
from bccli.core.errors import DataError, ImageError
from bccli.core.files import write_text
from bccli.core.imaging.equalising import Box
from bccli.core.reading.limits import TABLE_LINE
from bccli.core.reading.regular_files import open_file

BOXES_FILE, LESIONS_FILE = "boxes.csv", "lesions.csv"
_EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Detected:
    """What is known of a prepared image by its `path`: the boxes that were found in it and its lesions, in
    pixels."""

    path: str
    boxes: tuple[ScoredBox, ...]
    lesions: tuple[Lesion, ...]


def lesions_in(root: Path, sample: Sample, size: tuple[int, int]) -> tuple[Lesion, ...]:
    """The lesions of a prepared image of a `size` (width, height), none without a mask.

    Raises DataError for a mask that marks no place.
    """
    if not sample.mask:
        return ()
    try:
        return tuple(find_lesions([decode_sized(root / sample.mask, size)[..., 0] > 127]))
    except ImageError as error:
        raise DataError(f"{root / sample.mask}: {error}") from None


def write_detected(root: Path, found: Iterable[Detected]) -> None:
    """Write boxes.csv and lesions.csv; the mask of a lesion is stored by the lengths of its runs."""
    boxes, lesions = [], []
    for one in found:
        boxes += [[one.path, *each.box, f"{each.score:.9g}"] for each in one.boxes]
        lesions += [[one.path, *each.box, each.area, _runs(each.mask)] for each in one.lesions]
    _write(root / BOXES_FILE, ["path", *_EDGES, "score"], boxes)
    _write(root / LESIONS_FILE, ["path", *_EDGES, "area", "mask"], lesions)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_detected(boxes: Path, lesions: Path, paths: Sequence[str]) -> list[Detected]:
    """Read what `write_detected` wrote, for images by their paths. Raises DataError for other files."""
    found: dict[str, list[ScoredBox]] = {}
    for path, values in _rows(boxes, 5):
        with _belonging_to(boxes):
            found.setdefault(path, []).append(ScoredBox(_box(values), real(values[4])))
    true: dict[str, list[Lesion]] = {}
    for path, values in _rows(lesions, 6):
        with _belonging_to(lesions):
            box = _box(values)
            shape = box.bottom - box.top, box.right - box.left
            true.setdefault(path, []).append(Lesion(box, int(values[4]), _mask(values[5], shape)))
    return [Detected(path, tuple(found.get(path, ())), tuple(true.get(path, ()))) for path in paths]


def _rows(path: Path, cells: int) -> Iterator[tuple[str, list[str]]]:
    with _belonging_to(path), open_file(path) as stream:
        reader = csv.reader(TextIOWrapper(stream, "utf-8", newline=""))
        next(reader, None)
        for row in reader:
            if len(row) != cells + 1 or sum(map(len, row)) > TABLE_LINE:
                raise ValueError(row)
            yield row[0], row[1:]


@contextmanager
def _belonging_to(path: Path) -> Iterator[None]:
    """Say of what cannot be read in which file it is."""
    try:
        yield
    except (ValueError, csv.Error):
        raise DataError(f"{path}: is not what bccli writes there; copy the whole folder again") from None


def _box(values: Sequence[str]) -> Box:
    return Box(*(int(value) for value in values[:4]))


def _runs(mask: np.ndarray | None) -> str:
    """The lengths of the runs of a mask, row by row, the first of pixels that are not marked."""
    if mask is None:
        return ""
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return " ".join(map(str, np.diff(np.concatenate([[0], ends])).tolist()))


def _mask(text: str, shape: tuple[int, int]) -> np.ndarray | None:
    if not text:
        return None
    lengths = np.array([int(part) for part in text.split()])
    if (lengths < 0).any() or lengths.sum() != shape[0] * shape[1]:
        raise ValueError(text)
    marked = np.arange(len(lengths)) % 2 == 1
    return np.repeat(marked, lengths).reshape(shape)
