"""Breasts and examinations of predictions: which images are of one, and what is said of it.

An examination is fused of its breasts, and a breast of its images, so that a breast counts the same whichever
of its views is missing. A patient has one examination unless a column says which.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bccli.core.data.patients import compact, known_patient, plain_number
from bccli.core.datasets.layout.cell_forms import side_of
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.breasts.choices import BREAST, EXAM, LEARNED, MEAN
from bccli.core.evaluation.breasts.view_fusion import CANDIDATES, ViewRule, chosen_rule, fused
from bccli.core.metrics.material import Floats, Integers
from bccli.core.runs.aggregation import gravest_labels, group_rows, severest
from bccli.core.runs.predictions import Predictions

SIDES = ("side", "laterality", "breast", "imagelaterality", "breastside", "leftorrightbreast", "leftright")
"""Columns that say which breast an image shows, in small letters and digits; the first one there counts."""
EXAMS = (
    *("exam", "examid", "examnumber", "examination", "examinationid", "study", "studyid", "studynumber"),
    *("studyinstanceuid", "accessionnumber"),
)
"""Columns that tell several examinations of a patient apart, likewise."""


@dataclass(frozen=True)
class Grouping:
    """Which of n images belong together: `breasts` (n,) and `exams` (n,) number them from 0; `names` are
    those of the units of the level. `apart` images are of an unknown breast, each of which counts alone."""

    breasts: Integers
    exams: Integers
    names: tuple[str, ...]
    apart: int


@dataclass(frozen=True)
class Views:
    """What is known of the units of a level: from how many images, and of how many classes, they are.

    `images` counts units by their number of images, `breasts` exams by that of their breasts.
    """

    images: Mapping[int, int]
    breasts: Mapping[int, int] | None
    several_classes: int
    apart: int

    def to_json(self) -> dict[str, Any]:
        """What JSON has under `views`, beside the rule."""
        return {
            "images": {str(number): count for number, count in self.images.items()},
            "breasts": self.breasts and {str(number): count for number, count in self.breasts.items()},
            "several_classes": self.several_classes,
            "apart": self.apart,
        }


def group_images(images: Predictions, level: str, name: str) -> Grouping:
    """Group images (n,) by breast or exam; `name` stands for the table in messages.

    Raises DataError where nothing says which breast an image shows.
    """
    sides = [side_of(text) for text in _column(images, SIDES)]
    if not any(sides) and level == BREAST:
        raise DataError(
            f"{name}: does not say which breast an image shows; give each row a {SIDES[0]} (L or R), or "
            "choose --level exam"
        )
    studies = [plain_number(study) for study in _column(images, EXAMS)]
    patients = [known_patient(patient) for patient in images.patients]
    exam_keys, breast_keys, shown = [], [], []
    apart = 0
    for patient, study, side, path in zip(patients, studies, sides, images.paths, strict=True):
        known = (patient, study) if patient or study else ("", "", path)
        alone = not (patient or study) or (level == BREAST and not side)
        apart += alone
        exam_keys.append(known)
        breast_keys.append((known, side, path if alone else ""))
        parts = (patient, study, side if level == BREAST else "")
        shown.append(path if alone else " ".join(filter(None, parts)))
    exams, breasts = (group_rows(keys) for keys in (exam_keys, breast_keys))
    first = (breasts if level == BREAST else exams)[0]
    return Grouping(breasts[1], exams[1], tuple(shown[index] for index in first.tolist()), apart)


def _column(images: Predictions, names: Sequence[str]) -> tuple[str, ...]:
    """The texts (n,) of the first of these columns that says anything; empty ones where none does."""
    columns = {compact(name): name for name in reversed(list(images.further))}
    for name in names:
        values = images.further.get(columns.get(name, ""), ())
        if any(known_patient(value) for value in values):
            return tuple(known_patient(value.strip()) for value in values)
    return ("",) * len(images)


def at_breasts(
    images: Predictions, level: str, rule: ViewRule, *, positive: str | None, name: str
) -> tuple[Predictions, Views]:
    """A row for each breast or exam, whose key is its path, and what is known of these.

    Its label is the gravest of its images, which is the positive one of two classes, else the last. Without
    probabilities, an image counts as certain. Other columns are those of its first image.
    """
    grouping = group_images(images, level, name)
    number = severest(images.classes, positive)
    turned = _turn(images.probabilities, images, number)
    units = grouping.breasts if level == BREAST else grouping.exams
    count = len(grouping.names)
    first = group_rows(units.tolist())[0]
    labels = gravest_labels(images.labels, units, count, number)
    probabilities = turn_back(fuse_group(rule, turned, grouping, level), number)
    fused_rows = replace(
        images.taken(first),
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=None if images.probabilities is None else probabilities,
        paths=grouping.names,
        sources=(),
    )
    return fused_rows, _views(images, grouping, level, units)


def _views(images: Predictions, grouping: Grouping, level: str, units: Integers) -> Views:
    pairs = set(zip(units.tolist(), images.labels.tolist(), strict=True))
    labels_of = Counter(unit for unit, _ in pairs)
    sizes = Counter(np.bincount(units).tolist())
    of_exams = None
    if level == EXAM:
        breasts = set(zip(grouping.exams.tolist(), grouping.breasts.tolist(), strict=True))
        of_exams = dict(sorted(Counter(Counter(exam for exam, _ in breasts).values()).items()))
    several = sum(number > 1 for number in labels_of.values())
    return Views(dict(sorted(sizes.items())), of_exams, several, grouping.apart)


def fuse_group(rule: ViewRule, turned: Floats, grouping: Grouping, level: str) -> Floats:
    """The probabilities of units (m, classes) from those of images (n, classes), the gravest class last."""
    breasts = fused(rule, turned, grouping.breasts, int(grouping.breasts.max(initial=-1)) + 1)
    if level == BREAST:
        return breasts
    owners = grouping.exams[group_rows(grouping.breasts.tolist())[0]]
    return fused(rule, breasts, owners, int(grouping.exams.max(initial=-1)) + 1)


def _turn(probabilities: Floats | None, images: Predictions, severe: int) -> Floats:
    """The same (n, classes) with the gravest class last; certain ones where there are none."""
    if probabilities is None:
        probabilities = np.eye(len(images.classes))[images.predicted]
    return turn_back(np.asarray(probabilities, np.float64), severe)


def turn_back(probabilities: Floats, severe: int) -> Floats:
    """Columns of two classes in the other order where the first is the gravest one; its own inverse."""
    return probabilities[:, ::-1] if probabilities.shape[1] == 2 and severe == 0 else probabilities


def learned_rule(val: Predictions | None, level: str, *, positive: str | None, name: str) -> ViewRule:
    """The rule of `CANDIDATES` that is best on val, by log loss over its breasts or exams.

    Raises DataError where val has no probabilities, or one class only.
    """
    if val is None or val.probabilities is None or not len(val):
        raise DataError(
            f"{name}: has no probabilities of val, on which --fuse-views {LEARNED} rests; choose {MEAN}, max "
            "or noisy-or"
        )
    grouping = group_images(val, level, f"{name}, of val")
    number = severest(val.classes, positive)
    units = grouping.breasts if level == BREAST else grouping.exams
    labels = gravest_labels(val.labels, units, len(grouping.names), number)
    if len(set(labels.tolist())) < 2:
        raise DataError(
            f"{name}: val has {level}s of one class only, on which --fuse-views {LEARNED} cannot rest; "
            f"choose {MEAN}, max or noisy-or"
        )
    turned = _turn(val.probabilities, val, number)
    found = [(rule, turn_back(fuse_group(rule, turned, grouping, level), number)) for rule in CANDIDATES]
    return chosen_rule(found, labels)


def refuse_unordered(classes: Sequence[str], rule: str, *, known: bool, name: str) -> None:
    """Raises UsageError where a rule needs to know which class is graver, and nothing says so."""
    if rule != MEAN and not known:
        raise UsageError(
            f"--fuse-views {rule}: nothing says which class of {name} is the gravest; add --positive "
            f"{' or --positive '.join(classes)}"
            if len(classes) == 2
            else f"--fuse-views {rule}: nothing says in which order the classes of {name} are grave; choose "
            f"--fuse-views {MEAN}"
        )
