"""The leakage audit: what images on one side of a split have in common with those on the other.

It looks for shared patients, identical pixels, pictures that look alike, and augmented copies apart
from what they were made from (contract, "Honest results").
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from bccli.core.imaging.close_hashes import closest
from bccli.core.reading.json_types import Count

NEAR_DUPLICATE_BITS = 4
"""Images whose perceptual hashes differ in at most so many of 64 bits look alike. On real images, copies
that were resized or saved as JPEG (quality 75) stay within 4 (BreakHis, Mini-DDSM: all; IDC patches of
50×50: 99.6 %), and no two patients come closer than 6 (Mini-DDSM) or 12 (IDC, BreakHis). As half of the
bits are set in every hash, distances are even but for rare cases."""

_EXAMPLES = 5
_UNKNOWN = -1


@dataclass(frozen=True)
class ImageFacts:
    """What the audit knows of n images, one array of length n per trait.

    `patients` int32 (-1 unknown); `pixels` uint64, the first 8 bytes of the pixels' SHA-256;
    `perceptual` uint64, or None where no hashes were made; `blank` bool; `parents` int32, the row of
    the image that this one was augmented from (-1 for originals).
    """

    patients: np.ndarray
    pixels: np.ndarray
    perceptual: np.ndarray | None
    blank: np.ndarray
    parents: np.ndarray

    def distance(self, row: int, other: int) -> int:
        """In how many bits the perceptual hashes of two images differ."""
        hashes = self.perceptual
        return 0 if hashes is None else int(np.bitwise_count(hashes[row] ^ hashes[other]))


@dataclass(frozen=True)
class Leak:
    """What images inside have in common with images outside.

    `patients` counts distinct patients, the others count images inside: with `identical` pixels (blank
    images left out), `near_duplicates` of an image outside (not identical, not blank; None where
    perceptual hashes are unknown), and `relatives` whose parent, child or sibling is outside.
    `examples` are up to five pairs of rows (inside, outside), blocking ones first; `equal` are
    all with identical pixels, `pairs` all near-duplicates.
    """

    patients: int = 0
    identical: int = 0
    near_duplicates: int | None = None
    relatives: int = 0
    examples: tuple[tuple[int, int], ...] = ()
    equal: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    pairs: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)

    @property
    def blocking(self) -> bool:
        """Whether this would stop training if it reached test; near-duplicates alone do not."""
        return bool(self.patients or self.identical or self.relatives)

    def to_json(self) -> dict[str, int | None]:
        """The four counts under their names in reports."""
        return {
            "patients": self.patients,
            "identical": self.identical,
            "near_duplicates": self.near_duplicates,
            "children": self.relatives,
        }


_Split = Literal["test", "val", "folds", "data"]
_Kind = Literal["patients", "identical", "near_duplicates", "children"]
Leaks = Annotated[Mapping[str, Mapping[str, int | None]], Mapping[_Split, Mapping[_Kind, Count | None]]]
"""An audit, as JSON has it: what each split or all folds share with others."""

# What each count of a leak is called, for one and for several.
_WORDS = {
    "patients": ("patient", "patients"),
    "identical": ("image with identical pixels", "images with identical pixels"),
    "near_duplicates": ("near-duplicate", "near-duplicates"),
    "children": ("augmented relative", "augmented relatives"),
}
OTHER_SIDE = {
    "test": "train or val",
    "val": "train",
    "folds": "another fold",
    "data": "what the run was trained on",
}


def leak_sentences(leaks: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """An audit in words, a sentence for each split or fold with a leak; `leaks` holds `Leak.to_json`s."""
    sentences = []
    for split, counts in leaks.items():
        shared = [f"{amount} {_WORDS[kind][amount != 1]}" for kind, amount in counts.items() if amount]
        if shared:
            verb = "share" if split == "folds" else "shares"
            sentences.append(f"{split} {verb} {', '.join(shared)} with {OTHER_SIDE[split]}")
    return sentences


def find_leak(facts: ImageFacts, inside: np.ndarray, outside: np.ndarray) -> Leak:
    """Compare the images of one boolean mask (n,) with those of another."""
    return _find_leak(facts, [(inside, outside)])


def audit_splits(facts: ImageFacts, splits: np.ndarray) -> dict[str, Leak]:
    """Compare "test" with train and val, and "val" with train; `splits` (n,) holds 0 train, 1 val, 2 test."""
    return {
        "test": find_leak(facts, splits == 2, (splits == 0) | (splits == 1)),
        "val": find_leak(facts, splits == 1, splits == 0),
    }


def audit_folds(facts: ImageFacts, folds: np.ndarray) -> Leak:
    """Compare every fold with all others; `folds` (n,) from 0, negative for images in none.

    Each image counts once, and so does each patient.
    """
    known = folds >= 0
    return _find_leak(facts, [(folds == fold, known & (folds != fold)) for fold in np.unique(folds[known])])


@dataclass(frozen=True)
class _Pairs:
    """Rows inside, each once, and for each of them one row outside that it matches."""

    inside: np.ndarray
    outside: np.ndarray

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """The pairs of rows."""
        return tuple(zip(self.inside.tolist(), self.outside.tolist(), strict=True))


_Sides = tuple[np.ndarray, np.ndarray]


def _find_leak(facts: ImageFacts, sides: Iterable[_Sides]) -> Leak:
    """The leak over several pairs of masks whose insides are disjoint."""
    sides = list(sides)
    families = _families(facts.parents)
    patients = _over(sides, lambda ins, out: _equal(facts.patients, ins & (facts.patients >= 0), out))
    identical = _over(sides, lambda ins, out: _equal(facts.pixels, ins & ~facts.blank, out & ~facts.blank))
    relatives = _over(sides, lambda ins, out: _equal(families, ins, out))
    similar = None
    if facts.perceptual is not None:
        hashes, candidates = facts.perceptual, ~facts.blank
        others = candidates.copy()
        others[identical.inside] = False
        similar = _over(sides, lambda ins, out: _close(hashes, ins & others, out & candidates))
    return Leak(
        patients=len(np.unique(facts.patients[patients.inside])),
        identical=len(identical.inside),
        near_duplicates=None if similar is None else len(similar.inside),
        relatives=len(relatives.inside),
        examples=_examples([identical, relatives, patients, *([similar] if similar else [])]),
        equal=identical.rows,
        pairs=() if similar is None else similar.rows,
    )


def _over(sides: list[_Sides], match: Callable[[np.ndarray, np.ndarray], _Pairs]) -> _Pairs:
    """The matches over all pairs of masks."""
    empty = np.zeros(0, dtype=np.int64)
    found = [match(inside, outside) for inside, outside in sides]
    return _Pairs(
        np.concatenate([empty, *(pairs.inside for pairs in found)]),
        np.concatenate([empty, *(pairs.outside for pairs in found)]),
    )


def _examples(kinds: list[_Pairs]) -> tuple[tuple[int, int], ...]:
    """The first pairs of rows, kind by kind, none twice."""
    pairs = [
        (int(ins), int(out))
        for kind in kinds
        for ins, out in zip(kind.inside[:_EXAMPLES], kind.outside[:_EXAMPLES], strict=True)
    ]
    return tuple(dict.fromkeys(pairs))[:_EXAMPLES]


def _equal(keys: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> _Pairs:
    """Rows inside whose key occurs outside, each with the first row outside that has it."""
    rows, others = np.flatnonzero(inside), np.flatnonzero(outside)
    if not len(others):
        return _Pairs(others, others)
    others = others[np.argsort(keys[others], kind="stable")]
    indexes = np.searchsorted(keys[others], keys[rows]).clip(max=len(others) - 1)
    hits = keys[others[indexes]] == keys[rows]
    return _Pairs(rows[hits], others[indexes[hits]])


def _close(hashes: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> _Pairs:
    """Rows inside with a hash outside within NEAR_DUPLICATE_BITS, each with the closest."""
    rows, others = np.flatnonzero(inside), np.flatnonzero(outside)
    asked, found = closest(hashes[rows], hashes[others])
    return _Pairs(rows[asked], others[found])


def _families(parents: np.ndarray) -> np.ndarray:
    """For every row the original that it goes back to: itself, its parent, or its parent's parent."""
    families = np.where(parents == _UNKNOWN, np.arange(len(parents)), parents)
    for _ in range(len(parents).bit_length()):  # doubling finds the longest chain, and a cycle ends
        families = families[families]
    return families
