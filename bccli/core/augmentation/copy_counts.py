"""The number of augmented copies of each image: a fixed one, up to a total, or until classes are even."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.errors import UsageError

Counts = np.ndarray
"""int64, one number per image or unit."""


@dataclass(frozen=True)
class Amount:
    """`per_image` copies of every image; or as many as make `total` images, classes as even as possible;
    or, with `balance`, as many as bring each class to the size of the largest."""

    per_image: int = 1
    total: int = 0
    balance: bool = False

    def to_json(self) -> dict[str, Any]:
        """As in settings: what the user has not asked for is None."""
        by_image = not self.total and not self.balance
        return {
            "per_image": self.per_image if by_image else None,
            "total": self.total or None,
            "balance": self.balance,
        }


@dataclass(frozen=True)
class Units:
    """Images that get the same number of copies: the patches of one raw image, or each image alone.

    `of` (images,) is the unit of each image, -1 for images without copies; the other arrays have one value
    per unit: `labels`, `codes` (split or fold), `sizes` in images, and `turns`, their positions in the order
    in which the last copies are distributed.
    """

    of: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    sizes: np.ndarray
    turns: np.ndarray


def units_of(
    names: list[str], labels: np.ndarray, codes: np.ndarray, concerned: np.ndarray, *, seed: int
) -> Units:
    """The units of images whose raw images are `names`; only those `concerned` get copies.

    The order of turns depends on the seed and the names alone.
    """
    numbers: dict[str, int] = {}
    of = np.full(len(names), -1, np.int64)
    for index in np.flatnonzero(concerned).tolist():
        of[index] = numbers.setdefault(names[index], len(numbers))
    _, first, sizes = np.unique(of[concerned], return_index=True, return_counts=True)
    rows = np.flatnonzero(concerned)[first]
    keys = [
        hashlib.sha256(f"{seed}\x1f{name}".encode("utf-8", "surrogateescape")).digest() for name in numbers
    ]
    turns = np.empty(len(keys), np.int64)
    turns[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return Units(of, labels[rows], codes[rows], sizes, turns)


def count_copies(amount: Amount, units: Units, where: str) -> Counts:
    """Count the copies of each image of a unit, for all units.

    Raises UsageError where `where`, in words, has more originals than the total.
    """
    if not amount.total and not amount.balance:
        return np.full(len(units.sizes), amount.per_image, np.int64)
    copies = np.zeros(len(units.sizes), np.int64)
    if amount.total:
        originals = int(units.sizes.sum())
        if amount.total < originals:
            raise UsageError(
                f"--total {amount.total}: {where} has {originals} originals, which count, too; ask for more"
            )
        _fill(copies, units, np.ones(len(units.sizes), bool), amount.total)
        return copies
    for code in np.unique(units.codes):
        here = units.codes == code
        sizes = [units.sizes[here & (units.labels == label)].sum() for label in np.unique(units.labels[here])]
        _fill(copies, units, here, int(max(sizes)) * len(sizes))
    return copies


def _fill(copies: Counts, units: Units, here: np.ndarray, total: int) -> None:
    """Give the units `here` copies until there are `total` images, classes as even as possible."""
    labels = np.unique(units.labels[here])
    rows = [np.flatnonzero(here & (units.labels == label)) for label in labels]
    sizes = np.array([units.sizes[of_class].sum() for of_class in rows])
    for of_class, wanted in zip(rows, _even(sizes, total), strict=True):
        originals = units.sizes[of_class].sum()
        each, left = divmod(wanted - originals, originals)
        copies[of_class] = each
        for index in of_class[np.argsort(units.turns[of_class])].tolist():
            if units.sizes[index] <= left:
                copies[index] += 1
                left -= units.sizes[index]


def _even(sizes: np.ndarray, total: int) -> list[int]:
    """Sizes that add up to `total`, none below what it is in `sizes`, and otherwise as even as possible."""
    totals = sizes.astype(np.int64)
    open_ = np.ones(len(sizes), bool)
    while True:
        share, more = divmod(total - int(totals[~open_].sum()), int(open_.sum()))
        full = open_ & (sizes > share)
        if not full.any():
            break
        open_ &= ~full
    totals[open_] = share
    totals[np.flatnonzero(open_)[:more]] += 1
    return [int(number) for number in totals]
