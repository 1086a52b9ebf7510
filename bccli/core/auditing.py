"""The leakage audit of a prepared dataset, for the parts that a run trains and tests on."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from bccli.core.errors import DataError, ImageError, LeakageError
from bccli.core.files import write_bytes
from bccli.core.imaging.decoding import decode
from bccli.core.imaging.hashes import is_blank, perceptual_hash
from bccli.core.leakage import Leak, Traits, audit_splits, leak_sentences
from bccli.core.prepared import Dataset
from bccli.core.records import Sample

_LOOKS = np.dtype([("perceptual", "<u8"), ("blank", "?")])


def audit(dataset: Dataset, parts: np.ndarray, cache: Path) -> dict[str, Leak]:
    """What crosses into test and val, for `parts` (images,) of 0 train, 1 val, 2 test, -1 unused.

    The perceptual hashes are made once per content and kept in the cache.
    """
    return audit_splits(traits_of(dataset.samples, looks_of(dataset, cache)), parts)


def traits_of(samples: Sequence[Sample], looks: np.ndarray) -> Traits:
    """What the audit compares, for samples and the looks of each."""
    numbers: dict[str, int] = {}
    places = {sample.path: place for place, sample in enumerate(samples) if sample.path}
    return Traits(
        patients=np.array(
            [numbers.setdefault(s.patient, len(numbers)) if s.patient else -1 for s in samples], np.int32
        ),
        pixels=np.array([int(sample.sha256[:16], 16) for sample in samples], np.uint64),
        perceptual=looks["perceptual"],
        blank=looks["blank"],
        parents=np.array([places.get(sample.parent, -1) for sample in samples], np.int32),
    )


def refuse_leakage(leaks: dict[str, Leak], dataset: Dataset, *, allowed: bool) -> None:
    """Raises LeakageError where patients, pixels or children reach test and that is not allowed."""
    leak = leaks["test"]
    if allowed or not leak.serious:
        return
    example = ""
    if leak.examples:
        inside, outside = (dataset.samples[place].path for place in leak.examples[0])
        example = f" (such as {inside} and {outside})"
    raise LeakageError(
        f"{dataset.root}: {leak_sentences({'test': leak.to_json()})[0]}{example}; "
        "prepare it with whole patients in one split, or insist with --allow-leakage"
    )


def keep_looks(path: Path, perceptual: np.ndarray, blank: np.ndarray) -> None:
    """Store the perceptual hashes (images,) and blank flags of a dataset in manifest order."""
    stream = io.BytesIO()
    np.save(stream, table_of_looks(perceptual, blank), allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())


def table_of_looks(perceptual: np.ndarray | list[int], blank: np.ndarray | list[bool]) -> np.ndarray:
    """Perceptual hashes and blank flags (images,) as one structured array with these two fields."""
    table = np.empty(len(perceptual), _LOOKS)
    table["perceptual"], table["blank"] = perceptual, blank
    return table


def looks_path(cache: Path, content: str) -> Path:
    """Where the perceptual hashes of a dataset of this content are kept."""
    return cache / "audits" / f"{content[:16]}.npy"


def looks_of(dataset: Dataset, cache: Path) -> np.ndarray:
    """The looks of a dataset's images, as `table_of_looks` makes them, from the cache or from the pixels."""
    for folder in (cache, dataset.root / ".cache"):
        try:
            table = np.load(looks_path(folder, dataset.hash), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if table.dtype == _LOOKS and len(table) == len(dataset.samples):
            return table
    with ThreadPoolExecutor() as pool:
        pairs = list(pool.map(_look, (dataset.root / sample.path for sample in dataset.samples)))
    table = table_of_looks([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    with suppress(PermissionError):  # a dataset and a cache that are read-only
        keep_looks(looks_path(cache, dataset.hash), table["perceptual"], table["blank"])
    return table


def _look(path: Path) -> tuple[int, bool]:
    try:
        pixels = decode(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}; restore the file or prepare the dataset again") from None
    return perceptual_hash(pixels), is_blank(pixels)
