"""Who is in train, val and test: whole patients, with every class in its share everywhere.

Images come as two arrays: `groups` (n,), the number of each image's patient, and `labels` (n,), the
number of its class. A negative group is unknown: its image counts as a patient of its own. Splits are
numbered 0 train, 1 val, 2 test.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.data.manifest import SPLITS
from bccli.core.data.split_solver import Goal, solve
from bccli.core.data.split_table import SplitTable, Subtypes, generator
from bccli.core.errors import DataError, UsageError

TRAIN, VAL, TEST = range(3)

_PRIORITY = {TRAIN: 100.0, TEST: 2.0, VAL: 1.0}
_NAMED = 5
"""So many classes that a split lacks are named one by one."""


@dataclass(frozen=True)
class Assignment:
    """The split of every image, and what the user should know about it.

    `splits` int8 (n,); `notes` are plain sentences; `val_from_training_patients` says that val and train
    share patients.
    """

    splits: np.ndarray
    notes: tuple[str, ...] = ()
    val_from_training_patients: bool = False


@dataclass(frozen=True)
class Folds:
    """The fold of every image, int16 (n,) from 0, and what the user should know about it."""

    folds: np.ndarray
    notes: tuple[str, ...] = ()


def assign_splits(
    groups: np.ndarray,
    labels: np.ndarray,
    ratios: Sequence[float] = (0.7, 0.2, 0.1),
    *,
    seed: int,
    test_groups: Collection[int] = frozenset(),
    names: Sequence[str] = (),
    subtypes: Subtypes | None = None,
) -> Assignment:
    """Give every group (patient) to one split, near the ratios (train, val, test) and the class shares.

    Ratios are relative to each other; 0 leaves a split empty. `test_groups` are the test patients, where
    they were chosen beforehand; `names` are the classes as notes and errors call them. `subtypes` are
    balanced second, and where they are known, a patient's share of test is kept low. With fewer than
    three patients, or fewer than three of a class, val is drawn from the training patients' images; test
    keeps whole patients. A class of one patient stays in train. The same seed gives the same splits.

    Raises DataError where patients or images do not suffice for every split, UsageError for ratios that
    are no ratios.

    Ten patients with three images each, of which two are malignant:

    >>> patients, labels = np.repeat(np.arange(10), 3), np.tile([0, 1, 1], 10)
    >>> splits = assign_splits(patients, labels, (80, 10, 10), seed=0).splits
    >>> np.bincount(splits).tolist()
    [24, 3, 3]
    >>> [len(set(splits[patients == patient])) for patient in range(10)]
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    shares, table = shares_of(ratios), SplitTable.of(groups, labels, names, subtypes)
    chosen = _rows_of(table, test_groups)
    if chosen.all():
        raise DataError("all patients are test patients: nobody is left to train on; name fewer of them")
    if chosen.any():
        return _split_rest(table, shares, chosen, seed)
    if shares[TEST] > 0 and len(chosen) == 1:
        raise DataError(
            "all images are of one patient, who cannot be in both train and test; "
            "add patients, or do without test (--ratios 80/20/0)"
        )
    splits = _split_of_images(table, shares, seed)
    require_all(splits, shares)
    return described(table, splits, shares)


def assign_folds(
    groups: np.ndarray,
    labels: np.ndarray,
    folds: int,
    *,
    seed: int,
    names: Sequence[str] = (),
    subtypes: Subtypes | None = None,
) -> Folds:
    """Give every group (patient) to one of `folds` folds of like size and class shares.

    Raises DataError for fewer than three folds (one is tested, one validates, the rest trains) and for
    fewer groups than folds.

    >>> patients, labels = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    >>> folds = assign_folds(patients, labels, 3, seed=0).folds
    >>> np.bincount(folds).tolist(), np.bincount(folds, labels).tolist()
    ([4, 4, 4], [2.0, 2.0, 2.0])
    """
    table = SplitTable.of(groups, labels, names, subtypes)
    if folds < 3:
        raise DataError(f"{folds} folds leave nothing to train on beside test and val; use --folds 3 or more")
    if len(table.counts) < folds:
        raise DataError(
            f"{len(table.counts)} patients cannot fill {folds} folds; use fewer folds or add patients"
        )
    every, none = np.ones(folds), np.zeros(folds, bool)
    goal = Goal.of(table.counts, every / folds, every, needed=none, spread=none, kinds=table.kinds)
    assignment = solve(goal, generator(seed, 2))
    notes = [
        f"Only {_have(patients)} class {name}: some of the {folds} folds lack it."
        for name, patients in zip(table.names, table.patients(), strict=True)
        if patients < folds
    ]
    return Folds(assignment[table.rows].astype(np.int16), tuple(notes))


def split_images(
    labels: np.ndarray, ratios: Sequence[float] = (0.7, 0.2, 0.1), *, seed: int, names: Sequence[str] = ()
) -> Assignment:
    """Split by image, every class near the ratios, whoever the patients are (`--split-by image`)."""
    shares, table = shares_of(ratios), SplitTable.of(np.arange(len(labels)), labels, names)
    splits = _solve_splits(table, shares, generator(seed, 0))
    require_all(splits, shares)
    return described(table, splits, shares)


def shares_of(ratios: Sequence[float]) -> np.ndarray:
    """Ratios scaled to a sum of 1, (3,)."""
    shares = np.asarray(ratios, dtype=np.float64)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
        given = "/".join(f"{ratio:g}" for ratio in ratios)
        raise UsageError(f"--ratios {given}: give three shares for train/val/test, such as 70/20/10")
    return shares / shares.sum()


def _rows_of(table: SplitTable, groups: Collection[int]) -> np.ndarray:
    """Which groups of the table are among `groups`, as a mask (G,)."""
    unknown = sorted(set(groups) - set(table.groups.tolist()))
    if unknown:
        raise DataError(f"test patient {unknown[0]} has no images; correct or drop it")
    return np.isin(table.groups, sorted(groups))


def _split_rest(table: SplitTable, shares: np.ndarray, chosen: np.ndarray, seed: int) -> Assignment:
    """Splits where the groups of the mask `chosen` are test, and the others train and val."""
    wanted = shares * (1, 1, 0)
    if not wanted.any():
        raise UsageError("--ratios leaves neither train nor val beside the test patients; use 80/20/0")
    outside = chosen[table.rows]
    subtypes = None if not table.kind_names else Subtypes(table.kind_columns[~outside], table.kind_names)
    rest = SplitTable.of(table.groups[table.rows[~outside]], table.columns[~outside], table.names, subtypes)
    splits = np.full(len(outside), TEST, dtype=np.int8)
    splits[~outside] = _split_of_images(rest, wanted / wanted.sum(), seed)
    require_all(splits, shares * (1, 1, 0))
    return described(table, splits, np.where([False, False, True], 1.0, shares))


def _split_of_images(table: SplitTable, shares: np.ndarray, seed: int) -> np.ndarray:
    """The split of every image, int8 (n,): whole groups where they suffice, else val from train's images."""
    too_few = table.patients().min() < np.count_nonzero(shares)
    if too_few and shares[TRAIN] > 0 and shares[VAL] > 0:
        joint = np.array([shares[TRAIN] + shares[VAL], 0, shares[TEST]])
        for assignment in _joint_assignments(table, joint, seed):
            splits = assignment[table.rows]
            drawn = _draw(table.columns, splits == TRAIN, shares[VAL] / joint[TRAIN], generator(seed, 1))
            if len(drawn):
                splits[drawn] = VAL
                return splits
    return _solve_splits(table, shares, generator(seed, 0))[table.rows]


def _joint_assignments(table: SplitTable, joint: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Splits of groups, int8 (G,), where train also holds what val is drawn from: the best, and then, for
    a handful of images, one whose single test patient leaves train every class and a second image."""
    counts = table.counts
    yield _solve_splits(table, joint, generator(seed, 0))
    left = counts.sum(axis=0) - counts
    suited = np.flatnonzero((left > 0).all(axis=1) & (left > 1).any(axis=1))
    if joint[TEST] > 0 and len(suited):
        assignment = np.full(len(counts), TRAIN, dtype=np.int8)
        assignment[suited[0]] = TEST
        yield assignment


def _draw(columns: np.ndarray, among: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn from the mask `among`, `share` of each class, at least one and never the last."""
    drawn = [np.zeros(0, dtype=np.int64)]
    for column in np.unique(columns[among]):
        rows = np.flatnonzero(among & (columns == column))
        number = min(max(round(share * len(rows)), 1), len(rows) - 1)
        drawn.append(rng.permutation(rows)[:number])
    return np.concatenate(drawn)


def require_all(splits: np.ndarray, shares: np.ndarray) -> None:
    """Raise DataError where a split with a positive share got no image."""
    for split in np.flatnonzero(shares):
        if not (splits == split).any():
            raise DataError(
                f"nothing is left for {SPLITS[split]} once train has an image of every class; "
                f"add patients, or give {SPLITS[split]} a ratio of 0"
            )


def described(table: SplitTable, splits: np.ndarray, shares: np.ndarray) -> Assignment:
    """The assignment with its notes: what is missing from wanted splits, patients in both train and val."""
    patients = table.patients()
    wanted = np.flatnonzero(shares).tolist()
    notes = _lacking(splits, wanted, table.columns, ("class", "classes"), table.names, patients)
    tested = [TEST] if TEST in wanted else []
    having = (table.kinds > 0).sum(axis=0)
    known = table.kind_columns >= 0
    words = ("subtype", "subtypes")
    notes += _lacking(splits[known], tested, table.kind_columns[known], words, table.kind_names, having)
    shared = bool(np.isin(table.rows[splits == VAL], table.rows[splits == TRAIN]).any())
    if shared:
        notes.insert(0, _too_few(table, patients))
    return Assignment(splits, tuple(notes), shared)


def _lacking(
    splits: np.ndarray,
    wanted: Sequence[int],
    columns: np.ndarray,
    words: tuple[str, str],
    names: Sequence[str],
    patients: np.ndarray,
) -> list[str]:
    """What the `wanted` splits have no image of, one note each, or one for many."""
    notes = []
    for split in wanted:
        present = np.zeros(len(names), bool)
        present[columns[splits == split]] = True
        missing = np.flatnonzero(~present).tolist()
        if len(missing) > _NAMED:
            few = ", ".join(names[column] for column in missing[:_NAMED])
            notes.append(f"{SPLITS[split]} has no image of {len(missing)} {words[1]} ({few}, …).")
            continue
        notes += [
            f"{SPLITS[split]} has no image of {words[0]} {names[column]}, which {_have(patients[column])}."
            for column in missing
        ]
    return notes


def _have(patients: int) -> str:
    """So many patients and their verb."""
    return "1 patient has" if patients == 1 else f"{patients} patients have"


def _too_few(table: SplitTable, patients: np.ndarray) -> str:
    """Why val comes from training patients, as a sentence."""
    rarest = int(patients.argmin())
    number = min(len(table.groups), int(patients[rarest]))
    whose = "in all" if number == len(table.groups) else f"of class {table.names[rarest]}"
    return (
        "val is drawn from images of the training patients, "
        f"as there are too few patients ({number} {whose}) to keep them apart: figures on val flatter."
    )


def _solve_splits(table: SplitTable, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The split of every group, int8 (G,), where splits without a share stay empty."""
    wanted = np.flatnonzero(shares)
    priority = np.array([_PRIORITY[split] for split in wanted.tolist()])
    goal = Goal.of(
        table.counts,
        shares[wanted],
        priority,
        needed=wanted == TRAIN,
        spread=(wanted == TEST) & bool(table.kind_names),
        kinds=table.kinds,
    )
    return wanted[solve(goal, rng)].astype(np.int8)
