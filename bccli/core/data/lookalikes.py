"""Images that show one picture, and who may therefore not be separated (contract, section 1).

Identical pixels join whoever has them. An image of an unknown patient also joins what it looks like, and
each is compared with the first image of its group only, so that likeness does not chain. Patients who are
known are never joined by likeness. Blank images are left out: they are all alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.close_hashes import Pairs, close_pairs
from bccli.core.imaging.likeness import ALIKE, similarity

IDENTICAL, SIMILAR = "identical", "alike"


@dataclass(frozen=True)
class ImageHashes:
    """What is known of n raw images: `pixels` uint64 (n,), `usable` (n,) those that can be read and are not
    blank, `probes` uint64 (n, windows), and `grey`, which gives the small grey of one."""

    pixels: np.ndarray
    usable: np.ndarray
    probes: np.ndarray
    grey: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Lookalikes:
    """For each of n images the one that it is a copy of, itself where there is none: `of` (n,), with the
    `distance` (n,) of their hashes in bits and their structural `similarity` (n,)."""

    of: np.ndarray
    distance: np.ndarray
    similarity: np.ndarray

    @property
    def copies(self) -> np.ndarray:
        """The images that are copies of another."""
        return np.flatnonzero(self.of != np.arange(len(self.of)))

    @property
    def pictures(self) -> np.ndarray:
        """The first image (n,) of what each image shows."""
        return self.of[self.of]

    def kind(self, row: int) -> str:
        """How a copy was found."""
        return IDENTICAL if self.similarity[row] == 1 else SIMILAR

    def contradictions(self, labels: np.ndarray) -> np.ndarray:
        """Which images (n,) show a picture that has several labels."""
        pictures = self.pictures
        low, high = np.full(len(labels), np.iinfo(np.int64).max), np.full(len(labels), -1)
        np.minimum.at(low, pictures, labels)
        np.maximum.at(high, pictures, labels)
        several: np.ndarray = (low < high)[pictures]
        return several


def find_lookalikes(hashes: ImageHashes, patients: np.ndarray, *, similar: bool = True) -> Lookalikes:
    """Compare n images, whose `patients` (n,) are negative where unknown; for likeness only if `similar`."""
    count = len(patients)
    found = Lookalikes(np.arange(count), np.zeros(count, np.int64), np.ones(count))
    found.of[:] = _first_of_equals(hashes)
    if similar:
        known = np.zeros(count, bool)
        known[found.of[patients >= 0]] = True
        _join_similar(found, hashes, known)
    return found


def join_groups(groups: np.ndarray, lookalikes: Lookalikes) -> np.ndarray:
    """Groups (n,) of patients, those that share a picture joined under the smallest of their numbers."""
    leader = np.arange(int(groups.max(initial=-1)) + 1)

    def find(group: int) -> int:
        while leader[group] != group:
            leader[group] = leader[leader[group]]
            group = int(leader[group])
        return group

    for row in lookalikes.copies.tolist():
        one, other = find(int(groups[row])), find(int(groups[lookalikes.of[row]]))
        leader[max(one, other)] = min(one, other)
    return np.array([find(group) for group in range(len(leader))], np.int64)[groups]


def _first_of_equals(hashes: ImageHashes) -> np.ndarray:
    """For each image the first with its pixels."""
    rows = np.flatnonzero(hashes.usable)
    of = np.arange(len(hashes.usable))
    _, first, indexes = np.unique(hashes.pixels[rows], return_index=True, return_inverse=True)
    of[rows] = rows[first[indexes]]
    return of


def _join_similar(found: Lookalikes, hashes: ImageHashes, known: np.ndarray) -> None:
    """Let each picture of unknown patients join the first one that it looks like and that leads a group."""
    rows = np.flatnonzero(hashes.usable & (found.of == np.arange(len(found.of))))
    close = close_pairs(hashes.probes[rows], ~known[rows])
    leads = np.ones(len(rows), bool)
    order = np.empty(len(rows), np.int64)  # known patients lead, then who comes first
    order[np.lexsort((rows, ~known[rows]))] = np.arange(len(rows))
    for member, candidates in _by_member(close, order):
        if known[rows[member]]:
            continue
        for pair, leader in candidates:
            if leads[leader]:
                image, excerpt = (hashes.grey(int(rows[side[pair]])) for side in (close.one, close.other))
                value = similarity(image, excerpt, int(close.window[pair]))
                if value >= ALIKE:
                    leads[member] = False
                    found.of[rows[member]] = rows[leader]
                    found.distance[rows[member]] = close.distance[pair]
                    found.similarity[rows[member]] = min(value, 1 - 1e-6)
                    break


def _by_member(close: Pairs, order: np.ndarray) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield each pair's second picture, in order, with the pairs and the first pictures that it may join."""
    swapped = order[close.one] > order[close.other]
    second = np.where(swapped, close.one, close.other)
    first = np.where(swapped, close.other, close.one)
    ranked = np.lexsort((order[first], order[second]))
    starts = np.flatnonzero(np.diff(second[ranked], prepend=-1))
    for pairs in np.split(ranked, starts[1:]) if len(ranked) else ():
        yield int(second[pairs[0]]), list(zip(pairs.tolist(), first[pairs].tolist(), strict=True))
