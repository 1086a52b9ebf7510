"""Hashes that differ in a few bits, found among hundreds of thousands without comparing all with all.

Two hashes that differ in at most 4 of 64 bits are equal in at least one of 5 bands (Norouzi, Punjani and
Fleet 2012, "Fast Search in Hamming Space with Multi-Index Hashing"), so that only those of one band's value
are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.likeness import CLOSE_BITS

_BANDS = tuple((shift, 13 if shift < 52 else 12) for shift in range(0, 64, 13))
_ROWS = 4096
_CELLS = 1 << 22

# A pair of one band costs so many times what one of all with all does.
_COST = 24

# A distance and a position in one number, which orders them.
_SHIFT, _NONE = 40, np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pairs:
    """Images whose hashes are close, each pair once: rows `one` and `other`, the `window` of `one` that is
    like the middle of `other`, and their `distance` in bits; all (pairs,)."""

    one: np.ndarray
    other: np.ndarray
    window: np.ndarray
    distance: np.ndarray


def close_pairs(probes: np.ndarray, wanted: np.ndarray) -> Pairs:
    """All pairs of rows of `probes` uint64 (images, windows), of which any window of one is close to the
    first of the other, and at least one of the two is `wanted` (images,).

    Of several windows, the closest counts, the first of equals.
    """
    found = [_unique(hits) for hits in _hits(probes, wanted)]
    table = _unique(np.concatenate([np.zeros((0, 4), np.int64), *found]))
    return Pairs(*table.T)


def closest(asked: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For the hashes uint64 (n,) that have a close one among the `others` (m,), their positions, and those
    of the closest, the first of equals; both (hits,).

    Hashes of one band's value are compared where these are few, and all with all where they are not, as they
    are where many pictures have a plain ground.
    """
    if not len(others):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bands = []
    if len(asked) * len(others) > _CELLS:
        bands = [_Band.of(others, *band).candidates(asked) for band in _BANDS]
    if not bands or sum(int(band.counts.sum()) for band in bands) * _COST > len(asked) * len(others):
        return _closest_of_all(asked, others)
    best = np.full(len(asked), _NONE)
    for band in bands:
        for question, found, distances in band.close():
            np.minimum.at(best, question, distances.astype(np.int64) << _SHIFT | found)
    hits = np.flatnonzero(best != _NONE)
    return hits, best[hits] & ((1 << _SHIFT) - 1)


def _closest_of_all(asked: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `closest`: two thirds of a nanosecond per pair, and memory for one row of distances."""
    difference, distance = np.empty_like(others), np.empty(len(others), dtype=np.uint8)
    found = []
    for position, hash in enumerate(asked):
        np.bitwise_xor(others, hash, out=difference)
        np.bitwise_count(difference, out=distance)
        best = distance.argmin()
        if distance[best] <= CLOSE_BITS:
            found.append((position, best))
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True)
class _Band:
    """The `order` of hashes that are `known` by the values of some of their bits, which are `sorted`."""

    known: np.ndarray
    shift: int
    width: int
    order: np.ndarray
    sorted: np.ndarray

    @classmethod
    def of(cls, known: np.ndarray, shift: int, width: int) -> "_Band":
        """A band of so many bits."""
        values = _values(known, shift, width)
        order = np.argsort(values, kind="stable")
        return cls(known, shift, width, order, values[order])

    def candidates(self, asked: np.ndarray) -> "_Candidates":
        """The known hashes that have the value of one that is asked for."""
        values = _values(asked, self.shift, self.width)
        lows = np.searchsorted(self.sorted, values, "left")
        return _Candidates(self, asked, lows, np.searchsorted(self.sorted, values, "right") - lows)


def _values(hashes: np.ndarray, shift: int, width: int) -> np.ndarray:
    return (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)


@dataclass(frozen=True)
class _Candidates:
    """For each hash that is `asked` for, the `counts` known ones from `lows` on in the order of a `band`."""

    band: _Band
    asked: np.ndarray
    lows: np.ndarray
    counts: np.ndarray

    def close(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Positions of the close ones, asked for and known, and their distances, some at a time."""
        for portion in _portions(self.counts):
            counts = self.counts[portion]
            question = np.repeat(np.arange(portion.start, portion.stop), counts)
            inside = np.arange(len(question)) - np.repeat(np.cumsum(counts) - counts, counts)
            found = self.band.order[inside + self.lows[question]]
            distances = np.bitwise_count(self.band.known[found] ^ self.asked[question])
            near = distances <= CLOSE_BITS
            yield question[near], found[near], distances[near]


def _unique(table: np.ndarray) -> np.ndarray:
    """Rows of (one, other, window, distance), the closest for each pair in either order."""
    low, high = np.minimum(table[:, 0], table[:, 1]), np.maximum(table[:, 0], table[:, 1])
    order = np.lexsort((table[:, 0], table[:, 2], table[:, 3], high, low))
    low, high = low[order], high[order]
    first = np.ones(len(order), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return table[order[first]]


def _hits(probes: np.ndarray, wanted: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of (one, other, window, distance), some images at a time; pairs may come repeatedly."""
    own = np.ascontiguousarray(probes[:, 0])
    for shift, width in _BANDS:
        band = _Band.of(own, shift, width)
        for start in range(0, len(probes), _ROWS):
            rows, windows, hashes = _distinct(probes[start : start + _ROWS], start)
            for question, others, distances in band.candidates(hashes).close():
                ones = rows[question]
                chosen = (ones != others) & (wanted[ones] | wanted[others])
                columns = (ones, others, windows[question], distances)
                yield np.stack([column[chosen].astype(np.int64) for column in columns], axis=1)


def _distinct(probes: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, windows and hashes of some images' probes, each hash of an image once."""
    order = np.argsort(probes, axis=1, kind="stable")
    ordered = np.take_along_axis(probes, order, axis=1)
    first = np.ones(probes.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    rows = np.nonzero(first)[0]
    return rows + start, order[first], ordered[first]


def _portions(counts: np.ndarray) -> Iterator[slice]:
    """Slices of questions that have so few answers that they fit the memory."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + _CELLS, "right")), start + 1)
        yield slice(start, stop)
        start = stop
