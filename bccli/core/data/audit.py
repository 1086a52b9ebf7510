"""The leakage audit of a prepared dataset, for the splits that a run trains and tests on."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.audit_pairs import Pair, crossing_pairs
from bccli.core.data.dataset import CACHE_FOLDER, Dataset
from bccli.core.data.image_batches import pixels_of
from bccli.core.data.leakage import (
    OTHER_SIDE,
    ImageFacts,
    Leak,
    audit_folds,
    audit_splits,
    find_leak,
    leak_sentences,
)
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.errors import LeakageError
from bccli.core.files import write_bytes
from bccli.core.imaging.hashes import hash_and_blankness
from bccli.core.reading.rows import read_rows

_HASHES = np.dtype([("perceptual", "<u8"), ("blank", "?")])


def audit(dataset: Dataset, split_codes: np.ndarray, cache: Path) -> dict[str, Leak]:
    """What crosses into test and val, for the `split_codes` (images,) 0 train, 1 val, 2 test, -1 unused.

    The perceptual hashes are made once per content and kept in the cache.
    """
    return audit_splits(facts_of(dataset.samples, hashes_of(dataset, cache)), split_codes)


def facts_of(samples: Sequence[Sample], image_hashes: np.ndarray) -> ImageFacts:
    """What the audit compares, for samples and the image hashes of each."""
    numbers: dict[str, int] = {}
    indexes = {sample.path: index for index, sample in enumerate(samples) if sample.path}
    return ImageFacts(
        patients=np.array(
            [numbers.setdefault(s.patient, len(numbers)) if s.patient else -1 for s in samples], np.int32
        ),
        pixels=np.array([int(sample.sha256[:16] or "0", 16) for sample in samples], np.uint64),
        perceptual=image_hashes["perceptual"] if any(sample.sha256 for sample in samples) else None,
        blank=image_hashes["blank"],
        parents=np.array([indexes.get(sample.parent, -1) for sample in samples], np.int32),
    )


@dataclass(frozen=True)
class Finding:
    """A split's patients and pictures that other data share; `examples` are pairs of paths, its own first.

    `pairs` are all that show one picture, or nearly so.
    """

    data: str
    split: str
    against: str
    leak: Leak
    examples: tuple[tuple[str, str], ...]
    pairs: tuple[Pair, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """As printed."""
        return {
            "data": self.data,
            "part": self.split,
            "against": self.against,
            **self.leak.to_json(),
            "conflicts": sum(pair.conflict for pair in self.pairs),
            "examples": "; ".join(" = ".join(pair) for pair in self.examples),
        }


def audit_all(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    """Audit prepared datasets: each one's splits or folds, and each pair of datasets."""
    for dataset in datasets:
        yield from _audit_inside(dataset)
    for index, dataset in enumerate(datasets):
        for other in datasets[:index]:
            leak, facts = _between(dataset, other.samples, hashes_of(other, other.root / CACHE_FOLDER))
            samples = (*dataset.samples, *other.samples)
            examples = _pairs(leak, [sample.path for sample in samples])
            pairs = crossing_pairs(leak, facts, samples, dataset.root, other.root)
            yield Finding(str(dataset.root), "all", str(other.root), leak, examples, pairs)


def _audit_inside(dataset: Dataset) -> Iterator[Finding]:
    facts = facts_of(dataset.samples, hashes_of(dataset, dataset.root / CACHE_FOLDER))
    paths = [sample.path for sample in dataset.samples]
    if dataset.folds:
        folds = np.array([-1 if sample.fold is None else sample.fold for sample in dataset.samples])
        found = {"folds": audit_folds(facts, folds)}
    else:
        splits = np.array([SPLITS.index(s.split) if s.split else -1 for s in dataset.samples])
        found = audit_splits(facts, splits)
    for split, leak in found.items():
        pairs = crossing_pairs(leak, facts, dataset.samples, dataset.root)
        yield Finding(str(dataset.root), split, OTHER_SIDE[split], leak, _pairs(leak, paths), pairs)


def _pairs(leak: Leak, paths: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((paths[inside], paths[outside]) for inside, outside in leak.examples)


def audit_between(
    dataset: Dataset, others: Sequence[Sample], image_hashes: np.ndarray, *, chosen: np.ndarray | None = None
) -> tuple[Leak, list[str]]:
    """What a dataset shares with samples from elsewhere, and the paths of all, the dataset's first.

    `chosen` (images,) says which of the dataset's images count, by default all. Patients are the same
    where dataset and name are. Paths belong to their own folder: none of them is taken for a parent in
    the other.
    """
    leak, _ = _between(dataset, others, image_hashes, chosen=chosen)
    return leak, [sample.path for sample in (*dataset.samples, *others)]


def _between(
    dataset: Dataset, others: Sequence[Sample], image_hashes: np.ndarray, *, chosen: np.ndarray | None = None
) -> tuple[Leak, ImageFacts]:
    """As `audit_between`, with what was compared, the dataset's images first."""
    ours = [replace(sample, patient=_whose(sample)) for sample in dataset.samples]
    theirs = [Sample(patient=_whose(sample), sha256=sample.sha256) for sample in others]
    inside = np.arange(len(ours) + len(theirs)) < len(ours)
    both = np.concatenate([hashes_of(dataset, dataset.root / CACHE_FOLDER), image_hashes])
    counted = inside.copy()
    if chosen is not None:
        counted[: len(ours)] = chosen
    facts = facts_of([*ours, *theirs], both)
    return find_leak(facts, counted, ~inside), facts


def _whose(sample: Sample) -> str:
    """A patient's name that no other dataset's patient has; empty where it is unknown."""
    return f"{sample.dataset}\0{sample.patient}" if sample.patient else ""


def refuse_leakage(leaks: dict[str, Leak], dataset: Dataset, *, allowed: bool) -> None:
    """Raises LeakageError where patients, pixels or augmented copies reach test and that is not allowed."""
    leak = leaks["test"]
    if allowed or not leak.blocking:
        return
    example = ""
    if leak.examples:
        inside, outside = (dataset.samples[index].path for index in leak.examples[0])
        example = f" (such as {inside} and {outside})"
    raise LeakageError(
        f"{dataset.root}: {leak_sentences({'test': leak.to_json()})[0]}{example}; "
        "prepare it with whole patients in one split, or insist with --allow-leakage"
    )


def store_hashes(path: Path, perceptual: np.ndarray, blank: np.ndarray) -> None:
    """Store the perceptual hashes (images,) and blank flags of a dataset in manifest order."""
    stream = io.BytesIO()
    np.save(stream, hash_table(perceptual, blank), allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())


def hash_table(perceptual: np.ndarray | list[int], blank: np.ndarray | list[bool]) -> np.ndarray:
    """Perceptual hashes and blank flags (images,) as one structured array with these two fields."""
    table = np.empty(len(perceptual), _HASHES)
    table["perceptual"], table["blank"] = perceptual, blank
    return table


def hashes_path(cache: Path, content: str) -> Path:
    """Where the perceptual hashes of a dataset of this content are kept."""
    return cache / "audits" / f"{content[:16]}.npy"


def hashes_of(dataset: Dataset, cache: Path) -> np.ndarray:
    """The image hashes of a dataset, as `hash_table` makes them, from the cache or from the pixels.

    Images that are elsewhere count as blank, which are never compared.
    """
    if not dataset.info.images:
        return hash_table([0] * len(dataset.samples), [True] * len(dataset.samples))
    for folder in (cache, dataset.root / CACHE_FOLDER):
        try:
            table = read_rows(hashes_path(folder, dataset.hash), _HASHES, len(dataset.samples))
        except OSError:
            continue
        if table is not None:
            return table
    with ThreadPoolExecutor() as pool:
        pairs = list(
            pool.map(lambda sample: hash_and_blankness(pixels_of(dataset.root, sample)), dataset.samples)
        )
    table = hash_table([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    with suppress(PermissionError):  # a dataset and a cache that are read-only
        store_hashes(hashes_path(cache, dataset.hash), table["perceptual"], table["blank"])
    return table
