"""How many children each image gets: so many each, up to a total, or until classes are even."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.errors import UsageError

Counts = np.ndarray
"""int64, one number per image or unit."""


@dataclass(frozen=True)
class Amount:
    """`per_image` children for every image; or as many as make `total` images, classes as even as can be;
    or, with `balance`, as many as bring each class to the size of the largest."""

    per_image: int = 1
    total: int = 0
    balance: bool = False

    def to_json(self) -> dict[str, Any]:
        """As in settings: what is not asked for is None."""
        by_image = not self.total and not self.balance
        return {
            "per_image": self.per_image if by_image else None,
            "total": self.total or None,
            "balance": self.balance,
        }


@dataclass(frozen=True)
class Units:
    """Images that get children together: those of one raw image, which are its patches, or each alone.

    `of` (images,) is the unit of each image, -1 for images that get no children; the others have one value
    per unit: `labels`, `parts` (split or fold), `sizes` in images, and `turns`, their place in the order
    in which odd children are given out.
    """

    of: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    sizes: np.ndarray
    turns: np.ndarray


def units_of(
    names: list[str], labels: np.ndarray, parts: np.ndarray, concerned: np.ndarray, *, seed: int
) -> Units:
    """The units of images whose raw images are `names`; only those `concerned` get children.

    The order of turns depends on the seed and the names alone.
    """
    numbers: dict[str, int] = {}
    of = np.full(len(names), -1, np.int64)
    for place in np.flatnonzero(concerned).tolist():
        of[place] = numbers.setdefault(names[place], len(numbers))
    _, first, sizes = np.unique(of[concerned], return_index=True, return_counts=True)
    rows = np.flatnonzero(concerned)[first]
    keys = [
        hashlib.sha256(f"{seed}\x1f{name}".encode("utf-8", "surrogateescape")).digest() for name in numbers
    ]
    turns = np.empty(len(keys), np.int64)
    turns[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return Units(of, labels[rows], parts[rows], sizes, turns)


def children_of(amount: Amount, units: Units, where: str) -> Counts:
    """How many children each unit gets; the images of a unit get the same.

    Raises UsageError where `where`, in words, has more originals than the total.
    """
    if not amount.total and not amount.balance:
        return np.full(len(units.sizes), amount.per_image, np.int64)
    children = np.zeros(len(units.sizes), np.int64)
    if amount.total:
        originals = int(units.sizes.sum())
        if amount.total < originals:
            raise UsageError(
                f"--total {amount.total}: {where} has {originals} originals, which count, too; ask for more"
            )
        _fill(children, units, np.ones(len(units.sizes), bool), amount.total)
        return children
    for part in np.unique(units.parts):
        here = units.parts == part
        sizes = [units.sizes[here & (units.labels == label)].sum() for label in np.unique(units.labels[here])]
        _fill(children, units, here, int(max(sizes)) * len(sizes))
    return children


def _fill(children: Counts, units: Units, here: np.ndarray, total: int) -> None:
    """Give the units `here` children until there are `total` images, classes as even as can be."""
    labels = np.unique(units.labels[here])
    rows = [np.flatnonzero(here & (units.labels == label)) for label in labels]
    sizes = np.array([units.sizes[of_class].sum() for of_class in rows])
    for of_class, wanted in zip(rows, _even(sizes, total), strict=True):
        originals = units.sizes[of_class].sum()
        each, left = divmod(wanted - originals, originals)
        children[of_class] = each
        for place in of_class[np.argsort(units.turns[of_class])].tolist():
            if units.sizes[place] <= left:
                children[place] += 1
                left -= units.sizes[place]


def _even(sizes: np.ndarray, total: int) -> list[int]:
    """Parts of `total`, none below its size, and otherwise as even as can be."""
    parts = sizes.astype(np.int64)
    open_ = np.ones(len(sizes), bool)
    while True:
        share, more = divmod(total - int(parts[~open_].sum()), int(open_.sum()))
        full = open_ & (sizes > share)
        if not full.any():
            break
        open_ &= ~full
    parts[open_] = share
    parts[np.flatnonzero(open_)[:more]] += 1
    return [int(part) for part in parts]
