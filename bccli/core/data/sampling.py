"""Images and patients drawn from all: a smaller dataset, or a test set of so many images."""

from collections.abc import Sequence

import numpy as np

from bccli.core.data.split_table import SplitTable, Subtypes, generator, separate_unknown
from bccli.core.data.splits import (
    TEST,
    TRAIN,
    VAL,
    Assignment,
    assign_splits,
    described,
    require_all,
    shares_of,
)
from bccli.core.errors import DataError, UsageError


def spread(indices: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the indices (n,), evenly over all."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(int)]


def draw_sample(groups: np.ndarray, labels: np.ndarray, number: int, *, seed: int) -> np.ndarray:
    """Positions (number,) of images drawn from all, in their order: every class in its share, and of each
    class as many groups (patients) as there can be.

    Raises DataError where there are not so many images, UsageError where classes would be left out.

    >>> patients, labels = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1])
    >>> drawn = draw_sample(patients, labels, 3, seed=0)
    >>> labels[drawn].tolist(), patients[drawn].tolist()
    ([0, 0, 1], [0, 1, 2])
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if number > len(labels):
        raise DataError(f"--sample {number}: there are only {len(labels)} images; ask for fewer")
    if number < len(classes):
        raise UsageError(
            f"--sample {number}: there are {len(classes)} classes; draw one image of each at least"
        )
    rng, apart = generator(seed, 3), separate_unknown(groups)
    drawn = []
    for label, wanted in zip(classes, _apportioned(sizes, number), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == label))
        drawn.append(rows[np.argsort(_turns(apart[rows]), kind="stable")][:wanted])
    return np.sort(np.concatenate(drawn))


def _apportioned(sizes: np.ndarray, number: int) -> np.ndarray:
    """Whole shares of `number`, near those of `sizes`, each at least 1 and none above its size."""
    exact = sizes * (number / sizes.sum())
    shares = np.clip(np.floor(exact), 1, None).astype(np.int64)
    while shares.sum() != number:
        short = np.sign(number - shares.sum())
        gap = np.where((shares + short >= 1) & (shares + short <= sizes), short * (exact - shares), -np.inf)
        shares[gap.argmax()] += short
    return shares


def _turns(groups: np.ndarray) -> np.ndarray:
    """How many images of the same group come before each image."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ranks = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    turns = np.empty(len(groups), dtype=np.int64)
    turns[order] = ranks
    return turns


def hold_out_groups(
    groups: np.ndarray, labels: np.ndarray, number: int, *, seed: int, subtypes: Subtypes | None = None
) -> frozenset[int]:
    """Groups (patients, none of them negative) that have at least `number` images, of every class
    near its share but at least one group. Raises DataError where nobody would be left.
    """
    total = len(labels)
    if number >= total:
        raise DataError(f"--holdout {number}: there are only {total} images; hold out fewer")
    ratios = total - number, 0, number
    splits = assign_splits(groups, labels, ratios, seed=seed, subtypes=subtypes).splits
    chosen = set(groups[splits == TEST].tolist())
    sizes = dict(zip(*(column.tolist() for column in np.unique(groups, return_counts=True)), strict=True))
    held = sum(sizes[group] for group in chosen)
    while held < number:
        lacking = number - held
        rest = [group for group in sizes if group not in chosen]
        if len(rest) < 2:
            raise DataError(f"--holdout {number}: nobody is left to train on; hold out fewer images")
        added = min(rest, key=lambda group: (sizes[group] < lacking, abs(sizes[group] - lacking)))
        chosen.add(added)
        held += sizes[added]
    return frozenset(chosen)


def hold_out_images(
    labels: np.ndarray, number: int, ratios: Sequence[float], *, seed: int, names: Sequence[str] = ()
) -> Assignment:
    """BCNet's split (section 3.3), whoever the patients are: `number` images drawn for test, and of the rest
    the first of each class for val, as Keras's `validation_split` takes them.

    Ratios are (train, val, anything); labels are in the order of the files.
    """
    shares, table = shares_of(ratios), SplitTable.of(np.arange(len(labels)), labels, names)
    if number >= len(labels):
        raise DataError(f"--holdout {number}: there are only {len(labels)} images; hold out fewer")
    splits = np.full(len(labels), TRAIN, dtype=np.int8)
    splits[draw_sample(np.arange(len(labels)), labels, number, seed=seed)] = TEST
    share = shares[VAL] / (shares[TRAIN] + shares[VAL])
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (splits == TRAIN))
        splits[rows[: int(share * len(rows))]] = VAL
    require_all(splits, np.array([shares[TRAIN], shares[VAL], 1.0]))
    return described(table, splits, np.array([shares[TRAIN], shares[VAL], 1.0]))
