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
class Subtypes:
    """What is known of the images beside their classes: `numbers` (n,) index `names`, -1 where nothing is."""

    numbers: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> "Subtypes":
        """Those of some images."""
        return Subtypes(self.numbers[rows], self.names)


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
    """
    shares, table = _shares(ratios), _Table.of(groups, labels, names, subtypes)
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
    splits = _place(table, shares, seed)
    _require_all(splits, shares)
    return _described(table, splits, shares)


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
    """
    table = _Table.of(groups, labels, names, subtypes)
    if folds < 3:
        raise DataError(f"{folds} folds leave nothing to train on beside test and val; use --folds 3 or more")
    if len(table.counts) < folds:
        raise DataError(
            f"{len(table.counts)} patients cannot fill {folds} folds; use fewer folds or add patients"
        )
    every, none = np.ones(folds), np.zeros(folds, bool)
    goal = Goal.of(table.counts, every / folds, every, needed=none, spread=none, kinds=table.kinds)
    places = solve(goal, _generator(seed, 2))
    notes = [
        f"Only {_have(patients)} class {name}: some of the {folds} folds lack it."
        for name, patients in zip(table.names, table.patients(), strict=True)
        if patients < folds
    ]
    return Folds(places[table.rows].astype(np.int16), tuple(notes))


def split_images(
    labels: np.ndarray, ratios: Sequence[float] = (0.7, 0.2, 0.1), *, seed: int, names: Sequence[str] = ()
) -> Assignment:
    """Split by image, every class near the ratios, whoever the patients are (`--split-by image`)."""
    shares, table = _shares(ratios), _Table.of(np.arange(len(labels)), labels, names)
    splits = _solve_splits(table, shares, _generator(seed, 0))
    _require_all(splits, shares)
    return _described(table, splits, shares)


def draw_sample(groups: np.ndarray, labels: np.ndarray, number: int, *, seed: int) -> np.ndarray:
    """Positions (number,) of images drawn from all, in their order: every class in its share, and of each
    class as many groups (patients) as there can be.

    Raises DataError where there are not so many images, UsageError where classes would be left out.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if number > len(labels):
        raise DataError(f"--sample {number}: there are only {len(labels)} images; ask for fewer")
    if number < len(classes):
        raise UsageError(
            f"--sample {number}: there are {len(classes)} classes; draw one image of each at least"
        )
    rng, apart = _generator(seed, 3), _apart(groups)
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
    """Groups (patients, none of them negative) that together have at least `number` images, of every class
    near its share but at least one group. Raises DataError where nobody would be left.
    """
    total = len(labels)
    if number >= total:
        raise DataError(f"--holdout {number}: there are only {total} images; hold out fewer")
    ratios = total - number, 0, number
    places = assign_splits(groups, labels, ratios, seed=seed, subtypes=subtypes).splits
    chosen = set(groups[places == TEST].tolist())
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
    shares, table = _shares(ratios), _Table.of(np.arange(len(labels)), labels, names)
    if number >= len(labels):
        raise DataError(f"--holdout {number}: there are only {len(labels)} images; hold out fewer")
    splits = np.full(len(labels), TRAIN, dtype=np.int8)
    splits[draw_sample(np.arange(len(labels)), labels, number, seed=seed)] = TEST
    share = shares[VAL] / (shares[TRAIN] + shares[VAL])
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (splits == TRAIN))
        splits[rows[: int(share * len(rows))]] = VAL
    _require_all(splits, np.array([shares[TRAIN], shares[VAL], 1.0]))
    return _described(table, splits, np.array([shares[TRAIN], shares[VAL], 1.0]))


@dataclass(frozen=True)
class _Table:
    """Images counted per group and class.

    `counts` (G, C) for the G groups and C classes that occur; `groups` (G,) their numbers; `rows` (n,)
    and `columns` (n,) place every image in `counts`. `kinds` (G, K) are the images of each subtype that is
    no class by another name, called `kind_names`, and `kind_columns` (n,) each image's, -1 for none.
    """

    counts: np.ndarray
    groups: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    names: tuple[str, ...]
    kinds: np.ndarray
    kind_columns: np.ndarray
    kind_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        groups: np.ndarray,
        labels: np.ndarray,
        names: Sequence[str],
        subtypes: Subtypes | None = None,
    ) -> "_Table":
        """Count. Raises DataError where there are no images."""
        if len(groups) != len(labels):
            raise ValueError(f"{len(groups)} groups for {len(labels)} labels")
        if not len(labels):
            raise DataError("there are no images to split; check the source folder and --sample")
        numbers, rows = np.unique(_apart(groups), return_inverse=True)
        classes, columns = np.unique(labels, return_inverse=True)
        counts = _counted(rows, columns, (len(numbers), len(classes)))
        called = tuple(names[number] if names else str(number) for number in classes)
        of_kinds, kind_names = _kinds(columns, subtypes)
        kinds = _counted(rows, of_kinds, (len(numbers), len(kind_names)))
        return cls(counts, numbers, rows, columns, called, kinds, of_kinds, kind_names)

    def patients(self) -> np.ndarray:
        """The number of groups that have each class, (C,)."""
        return (self.counts > 0).sum(axis=0)


def _counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often each row meets each column; negative columns do not count."""
    there = columns >= 0
    cells = rows[there] * shape[1] + columns[there]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def _kinds(columns: np.ndarray, subtypes: Subtypes | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The subtype of each image, numbered anew, and their names; not those that are all of a class."""
    found = np.full(len(columns), -1, np.int64)
    if subtypes is None:
        return found, ()
    names: list[str] = []
    for number in np.unique(subtypes.numbers[subtypes.numbers >= 0]).tolist():
        here = subtypes.numbers == number
        if (columns == columns[here][0])[~here].any() or len(np.unique(columns[here])) > 1:
            found[here] = len(names)
            names.append(subtypes.names[number])
    return found, tuple(names)


def _apart(groups: np.ndarray) -> np.ndarray:
    """The groups, with a number of its own for every image whose group is negative (unknown)."""
    fresh = max(int(groups.max()), -1) + 1 + np.arange(len(groups), dtype=np.int64)
    return np.where(groups < 0, fresh, groups)


def _shares(ratios: Sequence[float]) -> np.ndarray:
    """Ratios scaled to a sum of 1, (3,)."""
    shares = np.asarray(ratios, dtype=np.float64)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
        given = "/".join(f"{ratio:g}" for ratio in ratios)
        raise UsageError(f"--ratios {given}: give three shares for train/val/test, such as 70/20/10")
    return shares / shares.sum()


def _rows_of(table: _Table, groups: Collection[int]) -> np.ndarray:
    """Which groups of the table are among `groups`, as a mask (G,)."""
    unknown = sorted(set(groups) - set(table.groups.tolist()))
    if unknown:
        raise DataError(f"test patient {unknown[0]} has no images; correct or drop it")
    return np.isin(table.groups, sorted(groups))


def _generator(seed: int, purpose: int) -> np.random.Generator:
    """Randomness for one purpose: 0 places groups in splits, 1 draws val images, 2 places folds."""
    return np.random.default_rng([seed, purpose])


def _split_rest(table: _Table, shares: np.ndarray, chosen: np.ndarray, seed: int) -> Assignment:
    """Splits where the groups of the mask `chosen` are test, and the others train and val."""
    wanted = shares * (1, 1, 0)
    if not wanted.any():
        raise UsageError("--ratios leaves neither train nor val beside the test patients; use 80/20/0")
    outside = chosen[table.rows]
    kept = None if not table.kind_names else Subtypes(table.kind_columns[~outside], table.kind_names)
    rest = _Table.of(table.groups[table.rows[~outside]], table.columns[~outside], table.names, kept)
    splits = np.full(len(outside), TEST, dtype=np.int8)
    splits[~outside] = _place(rest, wanted / wanted.sum(), seed)
    _require_all(splits, shares * (1, 1, 0))
    return _described(table, splits, np.where([False, False, True], 1.0, shares))


def _place(table: _Table, shares: np.ndarray, seed: int) -> np.ndarray:
    """The split of every image, int8 (n,): whole groups where they suffice, else val from train's images."""
    too_few = table.patients().min() < np.count_nonzero(shares)
    if too_few and shares[TRAIN] > 0 and shares[VAL] > 0:
        joint = np.array([shares[TRAIN] + shares[VAL], 0, shares[TEST]])
        for places in _joint_places(table, joint, seed):
            splits = places[table.rows]
            drawn = _draw(table.columns, splits == TRAIN, shares[VAL] / joint[TRAIN], _generator(seed, 1))
            if len(drawn):
                splits[drawn] = VAL
                return splits
    return _solve_splits(table, shares, _generator(seed, 0))[table.rows]


def _joint_places(table: _Table, joint: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Splits of groups, int8 (G,), where train also holds what val is drawn from: the best, and then, for
    a handful of images, one whose single test patient leaves train every class and a second image."""
    counts = table.counts
    yield _solve_splits(table, joint, _generator(seed, 0))
    left = counts.sum(axis=0) - counts
    suited = np.flatnonzero((left > 0).all(axis=1) & (left > 1).any(axis=1))
    if joint[TEST] > 0 and len(suited):
        places = np.full(len(counts), TRAIN, dtype=np.int8)
        places[suited[0]] = TEST
        yield places


def _draw(columns: np.ndarray, among: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn from the mask `among`, `share` of each class, at least one and never the last."""
    drawn = [np.zeros(0, dtype=np.int64)]
    for column in np.unique(columns[among]):
        rows = np.flatnonzero(among & (columns == column))
        number = min(max(round(share * len(rows)), 1), len(rows) - 1)
        drawn.append(rng.permutation(rows)[:number])
    return np.concatenate(drawn)


def _require_all(splits: np.ndarray, shares: np.ndarray) -> None:
    """Raise DataError where a split with a positive share got no image."""
    for split in np.flatnonzero(shares):
        if not (splits == split).any():
            raise DataError(
                f"nothing is left for {SPLITS[split]} once train has an image of every class; "
                f"add patients, or give {SPLITS[split]} a ratio of 0"
            )


def _described(table: _Table, splits: np.ndarray, shares: np.ndarray) -> Assignment:
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


def _too_few(table: _Table, patients: np.ndarray) -> str:
    """Why val comes from training patients, as a sentence."""
    rarest = int(patients.argmin())
    number = min(len(table.groups), int(patients[rarest]))
    whose = "in all" if number == len(table.groups) else f"of class {table.names[rarest]}"
    return (
        "val is drawn from images of the training patients, "
        f"as there are too few patients ({number} {whose}) to keep them apart: figures on val flatter."
    )


def _solve_splits(table: _Table, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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
