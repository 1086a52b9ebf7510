"""What a run says of each patient's images: a row per patient, the one with most mistakes first."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.metrics.material import Floats

MOST = 40
"""Patients in a plot; those with the smallest share of right answers."""
_MOST_DOTS = 60
"""Dots of a patient; of more images, so many in even steps of their order."""


@dataclass(frozen=True)
class StripRow:
    """A patient's images: how many, how many right, their true classes, and the probability of each that is
    drawn, right and wrong answers apart."""

    patient: str
    n: int
    right: int
    labels: tuple[str, ...]
    of_right: tuple[float, ...]
    of_wrong: tuple[float, ...]


@dataclass(frozen=True)
class Strip:
    """Rows of some `patients`; probabilities are those of the class `of`, None where of the true one."""

    of: str | None
    patients: int
    rows: tuple[StripRow, ...]
    threshold: float | None


def patient_strip(entry: Evaluation) -> Strip | Absent:
    """The rows of the patients with the smallest shares of right answers."""
    units, figures = entry.units, entry.whole
    if not any(units.patients):
        return Absent("Patients are unknown.")
    if units.probabilities is None:
        return Absent("Without probabilities there is nothing to draw for each patient.")
    numbers = units.labels
    if figures.positive is not None:
        numbers = np.full(len(units), figures.classes.index(figures.positive))
    stated = np.take_along_axis(units.probabilities, numbers[:, None], axis=1)[:, 0]
    right = units.predicted == units.labels
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, patient in enumerate(units.patients):
        if patient:
            members[patient].append(index)

    def worst_first(patient: str) -> tuple[float, int, str]:
        here = members[patient]
        return float(right[here].mean()), -len(here), patient

    chosen = sorted(members, key=worst_first)[:MOST]
    rows = [
        _row(patient, np.array(members[patient]), stated, right, units.labels, units.classes)
        for patient in chosen
    ]
    threshold = figures.threshold["value"] if figures.threshold else 0.5
    return Strip(figures.positive, len(members), tuple(rows), threshold if figures.positive else None)


def _row(
    patient: str,
    here: np.ndarray,
    stated: Floats,
    right: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
) -> StripRow:
    drawn = here[np.argsort(stated[here], kind="stable")]
    if len(drawn) > _MOST_DOTS:
        drawn = drawn[np.linspace(0, len(drawn) - 1, _MOST_DOTS).round().astype(int)]
    return StripRow(
        patient,
        len(here),
        int(right[here].sum()),
        tuple(classes[number] for number in np.unique(labels[here])),
        tuple(stated[drawn[right[drawn]]].tolist()),
        tuple(stated[drawn[~right[drawn]]].tolist()),
    )
