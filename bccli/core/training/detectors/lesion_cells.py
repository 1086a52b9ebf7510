"""The truth of a detector: which cells of prepared images lie in what their masks mark."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import decode_sized
from bccli.core.data.manifest import Sample
from bccli.core.data.node_subset import WITHOUT, lesions_of, tell_left_out
from bccli.core.detection.lesions import EVERYWHERE, find_lesions
from bccli.core.errors import DataError
from bccli.core.imaging.opencv import load_cv2
from bccli.core.progress import SILENT, Watcher

INSIDE_FROM = 0.5
"""The share of a cell that has to be marked for it to be inside; with less it is at an edge, and ignored."""


def detectable(dataset: Dataset, watcher: Watcher = SILENT) -> Dataset:
    """The images of a dataset as a detector sees them; what is left out is said.

    Raises DataError where there is nothing to learn from.
    """
    if dataset.preparation.region:
        raise DataError(
            f"{dataset.root}: has regions, and a detector learns where in a whole image a lesion is; prepare "
            "it without --roi"
        )
    found = lesions_of(dataset)
    if not any(sample.mask for sample in found.samples):
        raise DataError(
            f"{dataset.root}: has nothing of its masks in the prepared images; prepare it with --fit pad"
        )
    tell_left_out(dataset, found, watcher)
    if not any(sample.label == WITHOUT for sample in found.samples):
        watcher.warn(
            f"{dataset.root}: all images have a lesion; what a normal one looks like is learned from what "
            "lies beside them"
        )
    return found


@dataclass(frozen=True)
class LesionCells:
    """The truth of n images: `cells` int8 (k, cells) of those that have a lesion, `rows` (n,) which of these
    an image is, -1 for images without one."""

    cells: np.ndarray
    rows: np.ndarray

    def truth(self, positions: np.ndarray) -> np.ndarray:
        """float32 (m, cells) at positions (m,): 1 inside, 0 outside, -1 ignored."""
        found = np.zeros((len(positions), self.cells.shape[1]), np.float32)
        rows = self.rows[positions]
        found[rows >= 0] = self.cells[rows[rows >= 0]]
        return found


def cells_of(
    root: Path, samples: Iterable[Sample], size: tuple[int, int], grid: tuple[int, int]
) -> LesionCells:
    """Read the masks of prepared images of a `size` (width, height), for a grid of (rows, columns).

    Raises DataError for a mask that is damaged, empty, or marks the whole image; a patch may lie in a lesion
    wholly.
    """
    samples = list(samples)
    marked = [index for index, sample in enumerate(samples) if sample.mask]
    rows = np.full(len(samples), -1, np.int64)
    rows[marked] = np.arange(len(marked))
    with ThreadPoolExecutor(available_cores()) as pool:
        read = pool.map(lambda index: _of_masks(root, samples[index], size, grid), marked)
        cells = np.stack(list(_checked(read, marked, samples, root))) if marked else None
    return LesionCells(np.zeros((0, grid[0] * grid[1]), np.int8) if cells is None else cells, rows)


def _checked(
    read: Iterator[np.ndarray | str], marked: list[int], samples: list[Sample], root: Path
) -> Iterator[np.ndarray]:
    for index, found in zip(marked, read, strict=True):
        if isinstance(found, str):
            raise DataError(f"{root / samples[index].masks[0]}: {found}")
        yield found


def _of_masks(root: Path, sample: Sample, size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray | str:
    """The cells of an image's masks int8 (cells,), or what is wrong with them."""
    masks = [decode_sized(root / name, size)[..., 0] > 127 for name in sample.masks]
    marked = np.logical_or.reduce(masks)
    if marked.mean() >= EVERYWHERE and sample.row is None:
        return "marks the whole image, which shows no place in it; prepare without this mask"
    if not all(mask.any() for mask in masks):
        return "marks nothing; prepare the dataset again"
    cells = cells_of_shares(shares_of(marked, grid))
    for lesion in find_lesions([mask for mask in masks if mask.mean() < EVERYWHERE]):
        alone = np.zeros(marked.shape, bool)
        lesion.box.of(alone)[...] = lesion.mask
        _see(cells, shares_of(alone, grid).ravel())
    return cells


def _see(cells: np.ndarray, shares: np.ndarray) -> None:
    """Let a lesion have a cell inside: of a small one beside a large one, the cell that has most of it."""
    if not (cells[shares > 0] > 0).any():
        cells[shares >= shares.max()] = 1


def shares_of(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Of each cell of a grid (rows, columns) the share that a mask (height, width) marks."""
    cv2 = load_cv2()
    rows, columns = grid
    shares: np.ndarray = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return shares


def cells_of_shares(shares: np.ndarray) -> np.ndarray:
    """int8 (cells,): 1 inside, 0 outside, -1 at an edge; of a lesion smaller than half a cell, the cell that
    has most of it is inside.

    >>> cells_of_shares(np.array([[0.0, 0.3], [0.5, 1.0]])).tolist()
    [0, -1, 1, 1]
    """
    found = np.where(shares >= INSIDE_FROM, 1, np.where(shares > 0, -1, 0)).astype(np.int8)
    if not (found > 0).any():
        found[shares >= shares.max()] = 1
    return found.ravel()
