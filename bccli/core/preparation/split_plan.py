"""The plan of a dataset: it assigns every image of a survey to a split or a fold."""

from dataclasses import replace

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.data.manifest import SPLITS
from bccli.core.data.patients import spelled
from bccli.core.data.sampling import draw_sample, hold_out_groups, hold_out_images
from bccli.core.data.splits import TEST, TRAIN, VAL, assign_folds, assign_splits, split_images
from bccli.core.errors import DataError, LeakageError, UsageError
from bccli.core.preparation.division import Division, Plan
from bccli.core.preparation.survey import Survey

_NAMED = 4
"""At most so many patients are named one by one."""


def draw_and_plan(survey: Survey, division: Division) -> tuple[Survey, Plan]:
    """Draw the sample of images, and divide it into splits or folds. Raises as `plan` does."""
    drawn = None
    if division.sample:
        drawn = draw_sample(survey.groups, survey.labels, division.sample, seed=division.seed)
        survey = survey.take(drawn)
    divided = replace(plan(survey, division), drawn=drawn)
    return _thin(survey, divided, division) if division.keep else (survey, divided)


def _thin(survey: Survey, divided: Plan, division: Division) -> tuple[Survey, Plan]:
    """Leave images of train out, evenly over patients, until the shares that --keep says are left."""
    remains = np.ones(len(survey.labels), bool)
    notes = list(divided.notes)
    for name, share in division.keep:
        if name not in survey.classes:
            known = ", ".join(survey.classes)
            raise UsageError(f"--keep {name}: the classes are {known}{nearest(name, survey.classes)}")
        rows = np.flatnonzero((divided.splits == TRAIN) & (survey.labels == survey.classes.index(name)))
        if not len(rows):
            continue
        number = max(round(share * len(rows)), 1)
        chosen = draw_sample(survey.groups[rows], survey.labels[rows], number, seed=division.seed)
        remains[rows] = False
        remains[rows[chosen]] = True
        notes.append(f"train keeps {number:,} of {len(rows):,} images of class {name} (--keep).")
    indexes = np.flatnonzero(remains)
    drawn = indexes if divided.drawn is None else divided.drawn[indexes]
    thinned = replace(survey.take(indexes), before=_counts(survey, divided))
    return thinned, Plan(divided.splits[indexes], divided.folds[indexes], tuple(notes), drawn)


def _counts(survey: Survey, divided: Plan) -> tuple[tuple[str, int], ...]:
    """The number of images of each class in train."""
    numbers = np.bincount(survey.labels[divided.splits == TRAIN], minlength=len(survey.classes))
    return tuple(zip(survey.classes, numbers.tolist(), strict=True))


def takes_own_split(survey: Survey, division: Division) -> bool:
    """Whether the division asks for the split or the folds of the dataset itself."""
    has_own = bool((survey.folds >= 0).any() or (survey.splits >= 0).any())
    return division.by == "official" or (division.by == "default" and has_own)


def plan(survey: Survey, division: Division) -> Plan:
    """Divide the images of a survey into splits or folds.

    Raises DataError where whole patients cannot be divided in this way, LeakageError where an official
    split has a patient on both sides under the honest protocol.
    """
    none = np.full(len(survey.labels), -1, np.int32)
    if takes_own_split(survey, division):
        return _official(survey, division)
    if division.folds:
        folded = assign_folds(
            survey.groups,
            survey.labels,
            division.folds,
            seed=division.seed,
            names=survey.classes,
            subtypes=survey.known_subtypes,
        )
        return Plan(none, folded.folds, folded.notes)
    if division.by == "magnification":
        return _by_magnification(survey, division)
    if division.by == "image":
        seed, names = division.seed, survey.classes
        divided = (
            hold_out_images(survey.labels, division.holdout, division.ratios, seed=seed, names=names)
            if division.holdout
            else split_images(survey.labels, division.ratios, seed=seed, names=names)
        )
        return Plan(divided.splits, none, divided.notes)
    tested = (
        hold_out_groups(
            survey.groups,
            survey.labels,
            division.holdout,
            seed=division.seed,
            subtypes=survey.known_subtypes,
        )
        if division.holdout
        else frozenset().union(*(_groups_of(name, survey) for name in division.test_patients))
    )
    assigned = assign_splits(
        survey.groups,
        survey.labels,
        division.ratios,
        seed=division.seed,
        test_groups=tested,
        names=survey.classes,
        subtypes=survey.known_subtypes,
    )
    return Plan(assigned.splits, none, (*_followers(survey, division, tested), *assigned.notes))


def _followers(survey: Survey, division: Division, tested: frozenset[int]) -> tuple[str, ...]:
    """Name the patients that are in test because they share pictures with patients of --test-patients."""
    named = {spelled(name, survey.names) for name in division.test_patients}
    if not named:
        return ()
    there = (survey.patients >= 0) & np.isin(survey.groups, sorted(tested))
    others = [survey.names[number] for number in np.unique(survey.patients[there]).tolist()]
    others = [name for name in others if name not in named]
    if not others:
        return ()
    shown = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    return (f"Patients that share pictures with those of --test-patients are test, too: {shown}.",)


def _by_magnification(survey: Survey, division: Division) -> Plan:
    """Images of a test magnification are test; the rest is divided image by image."""
    there = sorted(survey.magnifications, key=lambda name: (len(name), name))
    for name in division.test_magnifications:
        if name not in there:
            known = ", ".join(f"{known}×" for known in there if known) or "none by name"
            raise DataError(f"--test-magnification {name}: no image has it; there are {known}")
    tested = [survey.magnifications.index(name) for name in division.test_magnifications]
    splits = np.full(len(survey.labels), TEST, np.int32)
    rest = ~np.isin(survey.zooms, tested)
    if not rest.any():
        raise DataError("--test-magnification leaves no image to train on; name fewer magnifications")
    train, val, _ = division.ratios
    divided = split_images(survey.labels[rest], (train, val, 0), seed=division.seed, names=survey.classes)
    splits[rest] = divided.splits
    lacking = [name for label, name in enumerate(survey.classes) if not (survey.labels[~rest] == label).any()]
    notes = tuple(f"test has no image of class {name} at its magnification." for name in lacking)
    return Plan(splits, np.full(len(splits), -1, np.int32), (*notes, *divided.notes))


def _groups_of(name: str, survey: Survey) -> frozenset[int]:
    """The group of a patient. Raises UsageError naming the nearest known patient."""
    patient = spelled(name, survey.names)
    if patient is None:
        raise UsageError(
            f"--test-patients: no patient {name!r} in this dataset{nearest(name, survey.names)}; "
            f"there are {len(survey.names)}, among them {', '.join(survey.names[:3]) or 'none by name'}"
        )
    return frozenset(survey.groups[survey.patients == survey.names.index(patient)].tolist())


def _official(survey: Survey, division: Division) -> Plan:
    given = survey.folds if (survey.folds >= 0).any() else survey.splits
    asked = "--test-patients" if division.test_patients else "--holdout" if division.holdout else "--folds"
    if division.test_patients or division.holdout or (division.folds and given is survey.splits):
        raise UsageError(f"{asked}: the dataset has its own split; add --split-by patient to divide it again")
    without = int((given < 0).sum())
    if without == len(given):
        raise DataError("--split-by official: this dataset has no split of its own; say --split-by patient")
    if without:
        raise DataError(
            f"{without} of {len(given)} images have no split of their own; "
            "fill the column for all of them, or divide them with --split-by patient"
        )
    if given is survey.folds:
        if division.folds and division.folds != int(given.max()) + 1:
            raise UsageError(
                f"--folds {division.folds} differs from the {int(given.max()) + 1} folds of the dataset"
            )
        _check_folds(given)
    crossing = _crossing(survey, given)
    if crossing and division.protocol == "honest":
        raise LeakageError(
            f"{_crossing_sentence(survey, given, crossing)}; "
            "divide it with --split-by patient, or keep it with --protocol paper"
        )
    notes: tuple[str, ...] = (f"{_crossing_sentence(survey, given, crossing)}.",) if crossing else ()
    none = np.full(len(given), -1, np.int32)
    if given is survey.folds:
        return Plan(none, given, notes)
    if not (given == TEST).any():
        notes += (_NO_TEST,)
    return _with_val(survey, division, Plan(given, none, notes))


_NO_TEST = "The dataset's own split has no test, and val is no test; --split-by patient divides it again."


def _with_val(survey: Survey, division: Division, own: Plan) -> Plan:
    """The dataset's own split; where it has no val, some of its training patients become val."""
    train, val, _ = division.ratios
    rows = np.flatnonzero(own.splits == TRAIN)
    if (own.splits == VAL).any() or not val or not len(rows):
        return own
    known = survey.known_subtypes
    divided = assign_splits(
        survey.groups[rows],
        survey.labels[rows],
        (train, val, 0),
        seed=division.seed,
        names=survey.classes,
        subtypes=None if known is None else known.take(rows),
    )
    splits = own.splits.copy()
    splits[rows] = divided.splits
    number = int((divided.splits == VAL).sum())
    note = (
        f"The dataset's own split has no val: {number} of its {len(rows)} training images are val; "
        "--ratios 1/0/0 leaves it as it is."
    )
    return replace(own, splits=splits, notes=(*own.notes, note, *divided.notes))


def _check_folds(folds: np.ndarray) -> None:
    missing = sorted(set(range(max(3, int(folds.max()) + 1))) - set(folds.tolist()))
    if missing:
        raise DataError(
            f"no image is in fold {missing[0]}; folds are numbered from 0, and there are at least three"
        )


def _crossing(survey: Survey, codes: np.ndarray) -> list[str]:
    """The patients who are in test and elsewhere, or in two folds; `codes` are those of the dataset."""
    known = survey.patients >= 0
    by_fold = codes is survey.folds
    sides = codes[known] if by_fold else (codes[known] == SPLITS.index("test")).astype(np.int32)
    pairs = np.unique(np.stack([survey.patients[known], sides], axis=1), axis=0)
    patients, counts = np.unique(pairs[:, 0], return_counts=True)
    return [survey.names[number] for number in patients[counts > 1]]


def _crossing_sentence(survey: Survey, codes: np.ndarray, crossing: list[str]) -> str:
    where = "in several folds" if codes is survey.folds else "in test and in train or val"
    names = ", ".join(crossing[:5]) + (", …" if len(crossing) > 5 else "")
    amount = f"{len(crossing)} of {len(survey.names)}"
    return f"patients of the dataset's own split are {where}: {amount} ({names})"
