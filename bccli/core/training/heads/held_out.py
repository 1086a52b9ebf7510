"""Patients of train who are left out, and the ridge of a linear head that suits them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.errors import DataError

FOLDS = 5
"""Train is divided into so many folds to choose a setting or to calibrate; patients stay whole."""

ENOUGH = 3000
"""So many examples, drawn evenly over train, are enough to choose a setting by."""

Folds = list[tuple[np.ndarray, np.ndarray]]


def folds_of(labels: np.ndarray, groups: Sequence[str] | None, seed: int) -> Folds:
    """Folds of examples (n,): each leaves all classes to fit with, and patients are whole if possible.

    Raises DataError where a class has one example only.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    known = _numbered(groups if groups is not None else [""] * len(labels))
    smallest, classes = np.bincount(labels).min(), len(np.unique(labels))
    if smallest < 2:
        raise DataError(
            "a class has one example only, and this classifier needs two to be calibrated; "
            "add images or take another classifier"
        )
    for count in range(min(FOLDS, len(np.unique(known)), smallest), 1, -1):
        cut = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        folds = list(cut.split(labels, labels, known))
        if all(len(np.unique(labels[fit])) == classes and len(held_out) for fit, held_out in folds):
            return folds
    return list(StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed).split(labels, labels))


def are_whole(folds: Folds, groups: Sequence[str] | None) -> bool:
    """Whether each group is in one fold only."""
    known = _numbered(groups if groups is not None else [""] * sum(len(held_out) for _, held_out in folds))
    return all(not set(known[fit]) & set(known[held_out]) for fit, held_out in folds)


def _numbered(groups: Sequence[str]) -> np.ndarray:
    """A number for each group; examples of unknown ones are each their own."""
    numbers: dict[Any, int] = {}
    keys = [group or index for index, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


@dataclass(frozen=True)
class Ridge:
    """How much a linear head is held back: scikit-learn's `c`, and whether the folds that chose it were over
    `groups`, such as patients, or images; empty where there were too few examples to leave any out."""

    c: float
    folds: str

    def decay(self, examples: int, units: int) -> float:
        """The weight decay by which the mean loss of so many examples has the optimum of logistic regression.

        Two units share the weights that scikit-learn gives to one, and the squares of halves are a half.
        """
        return (2 if units == 2 else 1) / (self.c * examples)

    def of(self, some: int, examples: int) -> float:
        """scikit-learn's `c` by which so many of the examples have the optimum of all of them: it weighs the
        sum of losses."""
        return self.c * examples / some

    def to_json(self) -> dict[str, Any]:
        """As run.json has it."""
        return {"C": self.c, **({"folds": self.folds} if self.folds else {})}


RIDGES: tuple[Mapping[str, Any], ...] = tuple({"C": 10.0**power} for power in range(-5, 1))
"""The settings of a logistic regression on standardised features among which folds choose."""

_UNKNOWN = 1e-2
"""The ridge where a class has one example only, the middle of `RIDGES`."""


def choose_ridge(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    groups: Sequence[str],
    weights: np.ndarray,
    seed: int = 0,
) -> Ridge:
    """The ridge with which logistic regression of standardised features (n, width) loses the least for those
    left out, patient by patient.

    `labels` (n,) are from 0 on, `groups` (n,) are patients, "" where unknown, `weights` (n,) those of the
    examples. The strongest comes first; weaker ones, which take the longest, are tried while they gain.
    """
    try:
        folds = folds_of(labels, groups, seed)
    except DataError:
        return Ridge(_UNKNOWN, "")
    rows = np.asarray(features, np.float32)
    fits = [_Fit(rows, labels, weights, *fold) for fold in folds]
    losses: list[float] = []
    for setting in RIDGES:
        losses.append(sum(fit.loss(setting) for fit in fits))
        if len(losses) - 1 - int(np.argmin(losses)) == _WORSE:
            break
    best = RIDGES[int(np.argmin(losses))]["C"]
    return Ridge(best, "groups" if are_whole(folds, groups) else "images")


def optimum(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, c: float, units: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The kernel (width, units) and bias (units,) of the logistic regression of standardised features
    (n, width) with this ridge, as a dense layer of so many units has them.

    None where a class is not among the `labels` (n,).
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) != max(units, 2):
        return None
    model = LogisticRegression(C=c, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training goes on from where it came to
        model.fit(np.asarray(features, np.float64), labels, sample_weight=weights)
    kernel, bias = model.coef_.T, model.intercept_
    if units == 2:  # which share what scikit-learn gives to one
        kernel, bias = np.concatenate([-kernel, kernel], axis=1) / 2, np.concatenate([-bias, bias]) / 2
    return kernel.astype(np.float32), bias.astype(np.float32)


_WORSE = 2
"""After so many ridges in a row that are worse than the best before, no weaker one is tried."""

_CLOSE = {"tol": 1e-3, "max_iter": 300}
"""How close to its optimum a model has to come to be compared with others."""


class _Fit:
    """A model of some examples, asked about those left out; each setting starts from what the one before
    came to."""

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        inside: np.ndarray,
        held_out: np.ndarray,
    ) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(warm_start=True, **_CLOSE)
        self._rows, self._labels, self._weights = rows, labels, weights
        self._inside, self._held_out = inside, held_out

    def loss(self, setting: Mapping[str, Any]) -> float:
        """The cross-entropy of those left out, all taken together."""
        self._model.set_params(**setting)
        inside, out = self._inside, self._held_out
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not come closer
            self._model.fit(self._rows[inside], self._labels[inside], sample_weight=self._weights[inside])
        chances = self._model.predict_proba(self._rows[out])
        right = chances[np.arange(len(out)), self._labels[out]].astype(np.float64)
        return -float(np.log(np.maximum(right, 1e-15)) @ self._weights[out])
