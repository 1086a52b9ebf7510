"""The work units of `augment`: each writes some originals and their copies, and enters them in a journal."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.augmentation import Policy, augmented_copy_with_mask
from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError, ImageError
from bccli.core.files import write_into
from bccli.core.imaging.formats.decoding import MAX_BYTES, decode
from bccli.core.imaging.formats.png import is_bare
from bccli.core.imaging.hashes import hash_and_blankness, pixel_hash
from bccli.core.imaging.opencv import load_cv2
from bccli.core.preparation.chunks import box_of, is_done, journal_path, new_entries, write_journal, write_png
from bccli.core.reading.regular_files import read_bytes

IMAGES = 128
"""A chunk has so many originals and augmented copies."""

_REMEDY = "restore the file or prepare the dataset again"


@dataclass(frozen=True)
class AugmentedOriginal:
    """An original and some of its augmented copies; number 0 is the original itself.

    `splits_and_folds` has the split and the fold of each of the `numbers`.
    """

    original: Sample
    numbers: tuple[int, ...]
    splits_and_folds: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Chunk:
    """Some originals of the prepared dataset `data` with their augmented copies, to be written to `out`."""

    number: int
    augmented_originals: tuple[AugmentedOriginal, ...]
    data: Path
    out: Path
    policy: Policy
    seed: int

    @property
    def images(self) -> int:
        """The number of images that the chunk makes."""
        return sum(len(augmented.numbers) for augmented in self.augmented_originals)


def augment_chunk(chunk: Chunk) -> tuple[int, int]:
    """Make one chunk unless its journal says that it is done. Returns (images, images done before)."""
    journal = journal_path(chunk.out, chunk.number)
    inputs = _inputs_hash(chunk)
    if is_done(journal, chunk.out, inputs):
        return chunk.images, chunk.images
    load_cv2().setNumThreads(1)  # a process is the work of one core
    entries = new_entries(inputs)
    for augmented in chunk.augmented_originals:
        interruption.stop_if_requested()
        entries["rows"] += _write_copies(chunk, augmented)
    write_journal(journal, chunk.out, entries)
    return chunk.images, 0


def make_copies(
    data: Path, augmented: AugmentedOriginal, policy: Policy, seed: int
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray | None]]:
    """Yield an original and its augmented copies, each with its pixels and its mask.

    Raises DataError where the original is damaged.
    """
    original = augmented.original
    pixels = read_pixels(data, original)
    mask = _read(data / original.mask)[..., 0] if original.mask else None
    for number, (split, fold) in zip(augmented.numbers, augmented.splits_and_folds, strict=True):
        image, shape = pixels, mask
        if number:
            name = original.source or original.path
            image, shape = augmented_copy_with_mask(
                policy, pixels, mask, seed=seed, image=name, number=number
            )
        yield _sample_of(original, number, split, fold, shape), image, shape


def _sample_of(
    original: Sample, number: int, split: str, fold: int | None, mask: np.ndarray | None
) -> Sample:
    """The manifest row of an original or an augmented copy; it has no hash yet."""
    assigned = replace(original, split=split, fold=fold)
    if not number:
        return assigned
    return replace(
        assigned,
        path=copy_path(original.path, number),
        parent=original.path,
        variant=number,
        mask=copy_path(original.mask, number) if original.mask else "",
        box="" if mask is None else box_of(mask),  # where there is no mask, nobody knows where it went
    )


def copy_path(path: str, number: int) -> str:
    """The path of an augmented copy: beside all originals, 1,000 numbers to a folder."""
    top, *rest = PurePosixPath(path).parts
    return str(PurePosixPath(top, "children", f"{number // 1000:03d}", f"{number % 1000:03d}", *rest))


def _write_copies(chunk: Chunk, augmented: AugmentedOriginal) -> list[list[Any]]:
    rows = []
    for sample, pixels, mask in make_copies(chunk.data, augmented, chunk.policy, chunk.seed):
        is_original = sample.path == augmented.original.path
        write = _write_original if is_original else _write_copy
        if mask is not None:
            write(chunk, sample.mask, mask)
        size = write(chunk, sample.path, pixels)
        if not is_original:
            sample = replace(sample, sha256=pixel_hash(pixels))
        rows.append([sample.to_cells(), size, *hash_and_blankness(pixels)])
    return rows


def _write_copy(chunk: Chunk, name: str, pixels: np.ndarray) -> int:
    return write_png(chunk.out, name, pixels)


def _write_original(chunk: Chunk, name: str, pixels: np.ndarray) -> int:
    """Copy a file of the prepared dataset, where it is as bccli would write it; returns its size in bytes.

    It is not linked: what is done to one dataset is not to be seen in the other.
    """
    data = read_bytes(chunk.data / name, MAX_BYTES)
    if not is_bare(data, pixels):
        return write_png(chunk.out, name, pixels)
    write_into(chunk.out, name, data)
    return len(data)


def read_pixels(data: Path, sample: Sample) -> np.ndarray:
    """The pixels of a prepared image. Raises DataError where they are not those of the manifest."""
    pixels = _read(data / sample.path)
    if pixel_hash(pixels) != sample.sha256:
        raise DataError(f"{data / sample.path}: has other pixels than the manifest says; {_REMEDY}")
    return pixels


def _read(path: Path) -> np.ndarray:
    try:
        return decode(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}; {_REMEDY}") from None


def _inputs_hash(chunk: Chunk) -> str:
    """A hash of all that the chunk's results depend on; the manifest vouches for the pixels."""
    digest = hashlib.sha256(json.dumps([chunk.number, chunk.seed, chunk.policy.to_json()]).encode())
    for augmented in chunk.augmented_originals:
        cells = "\x1f".join(augmented.original.to_cells())
        text = f"{cells}\x1e{augmented.numbers}{augmented.splits_and_folds}"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
