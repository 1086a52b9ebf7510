"""How well predictions agree with labels: the measures of the contract, section 4.

Everywhere: n images, K classes; labels and predictions are class numbers 0…K-1 of shape (n,),
probabilities have shape (n, K). A ratio whose denominator is zero is None, never 0, 1 or NaN.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bccli.core.errors import DataError, UsageError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

EPSILON = 1e-7
"""Keras's fuzz factor: probabilities are kept this far from 0 and 1 before their logarithm is taken."""

CALIBRATION_BINS = 15
"""Guo et al. 2017, "On Calibration of Modern Neural Networks", table 1."""

OVERFIT_MARGIN = 0.10
"""Falconí et al. 2020, section 4.3.3: a model is rejected above this difference."""


@dataclass(frozen=True)
class Figures:
    """What `evaluate` says about one run on one split; the fields are the contract's JSON keys in order.

    Accuracies, rates and areas are shares in 0…1. `n` counts what the level names (images, patches or
    patients), `patients` the known patients. `confusion_matrix` has a row per true and a column per
    predicted class. None is "does not apply" or "not defined here".
    """

    name: str | None = None
    kind: str | None = None
    backbone: str | None = None
    dataset: str | None = None
    protocol: str | None = None
    split: str | None = None
    level: str | None = None
    n: int = 0
    patients: int | None = None
    classes: list[str] = field(default_factory=list)
    positive: str | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    f1: float | None = None
    roc_auc: float | None = None
    auc_paper: float | None = None
    tpr: float | None = None
    fpr: float | None = None
    tnr: float | None = None
    loss: float | None = None
    majority_accuracy: float | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    beta: float | None = None
    beta_paper: float | None = None
    overfit: bool | None = None
    overfit_paper: bool | None = None
    patient_accuracy: float | None = None
    confusion_matrix: list[list[int]] | None = None
    per_class: dict[str, dict[str, Any]] | None = None
    ci: dict[str, list[float] | None] | None = None
    calibration: dict[str, float | None] | None = None
    leakage: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dumps(…, allow_nan=False)` takes: floats unrounded, what is not finite is None.

        `Figures(**figures.to_json())` gives the figures back.
        """
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}


def measure(
    labels: ArrayLike,
    probabilities: ArrayLike | None,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    patients: Sequence[str] | None = None,
    loss: str = "categorical_crossentropy",
    label_smoothing: float = 0.0,
    predicted: ArrayLike | None = None,
) -> Figures:
    """Measure one split; identity, intervals, overfitting and leakage are for the caller to fill in.

    `predicted` replaces the most probable class (a threshold, a vote); without `probabilities`, what
    needs them is None. Of equally probable classes the first is predicted. `patients` names the
    patient of each image, "" where unknown.

    Two classes: `positive` is the last one unless given. More: `f1` and `roc_auc` are macro averages,
    one class against the rest, and `positive`, `tpr`, `fpr`, `tnr`, `auc_paper` are None.

    A class without images has no sensitivity and no AUC. As in scikit-learn, `balanced_accuracy` is
    the mean over the classes that occur and the macro `f1` over those that occur or are predicted,
    but a macro `roc_auc` needs them all. An empty split has counts and nothing else.

    Raises DataError for inputs that do not fit together, UsageError for an unknown class or loss.
    """
    if positive is not None and positive not in classes:
        raise UsageError(f"positive class {positive!r} is unknown; choose one of {', '.join(classes)}")
    truth = _class_numbers(labels, len(classes), "labels")
    scores = None if probabilities is None else _scores(probabilities, len(truth), len(classes))
    chosen = _decide(scores, predicted, len(truth), len(classes))
    owners = _owners(patients, len(truth))

    matrix = confusion_matrix(truth, chosen, len(classes))
    per_class = _per_class(matrix, truth, scores, classes)
    shared = Figures(
        n=len(truth),
        patients=len(set(owners) - {""}) or None,
        classes=list(classes),
        accuracy=_ratio(np.trace(matrix), len(truth)),
        balanced_accuracy=_mean([row["sensitivity"] for row in per_class.values()]),
        loss=None if scores is None else mean_loss(truth, scores, loss, label_smoothing=label_smoothing),
        majority_accuracy=_ratio(matrix.sum(axis=1).max(initial=0), len(truth)),
        patient_accuracy=patient_accuracy(truth == chosen, owners),
        confusion_matrix=matrix.tolist(),
        per_class=per_class,
        calibration=None if scores is None else calibration(truth, scores, chosen),
    )
    if len(classes) == 2:
        return replace(shared, **_binary(per_class, positive or classes[-1]))
    return replace(
        shared,
        f1=_mean([row["f1"] for row in per_class.values()]),
        roc_auc=_mean([row["roc_auc"] for row in per_class.values()], complete=True),
    )


def confusion_matrix(labels: Integers, predicted: Integers, class_count: int) -> Integers:
    """Counts of shape (K, K): a row per true class, a column per predicted class."""
    cells = np.bincount(labels * class_count + predicted, minlength=class_count**2)
    return cells.reshape(class_count, class_count)


def roc_auc(is_positive: ArrayLike, scores: ArrayLike) -> float | None:
    """The share of (positive, negative) pairs that the scores put in order, ties counting half.

    This is the area under the ROC curve (Hanley and McNeil 1982, DOI 10.1148/radiology.143.1.7063747).
    Both arguments have shape (n,); None where positives or negatives are missing.
    """
    is_positive, scores = np.asarray(is_positive, dtype=bool), np.asarray(scores)
    positives, negatives = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    below = np.searchsorted(negatives, positives, side="left").sum()
    not_above = np.searchsorted(negatives, positives, side="right").sum()
    return _ratio(int(below) + int(not_above), 2 * len(positives) * len(negatives))


def roc_curve(is_positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats] | None:
    """False positive rates, true positive rates and thresholds, one per distinct score, highest first.

    A score at or above the threshold counts as positive; the curve starts at (0, 0) with an infinite
    threshold and ends at (1, 1). None where positives or negatives are missing.
    """
    is_positive, scores = np.asarray(is_positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if is_positive.all() or not is_positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits, ranked = is_positive[order], scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives = np.cumsum(hits)[last_of_ties]
    false_positives = last_of_ties + 1 - true_positives
    return (
        np.append(0.0, false_positives / false_positives[-1]),
        np.append(0.0, true_positives / true_positives[-1]),
        np.append(np.inf, ranked[last_of_ties]),
    )


def patient_accuracy(correct: Bools, patients: Sequence[str]) -> float | None:
    """The mean over patients of (correct images / images); None where no patient is known.

    Spanhol et al. 2016, "A Dataset for Breast Cancer Histopathological Image Classification", DOI
    10.1109/TBME.2015.2496264. An image of an unknown patient ("") is a patient of its own.
    """
    images: dict[str | int, list[bool]] = {}
    for position, (patient, right) in enumerate(zip(patients, correct.tolist(), strict=True)):
        images.setdefault(patient or position, []).append(right)
    if not any(isinstance(patient, str) for patient in images):
        return None
    return _mean([sum(rights) / len(rights) for rights in images.values()])


def calibration(labels: Integers, probabilities: Floats, predicted: Integers) -> dict[str, float | None]:
    """How far the probabilities can be believed; 0 is best for both figures.

    `ece`: expected calibration error, the mean difference between confidence (the predicted class's
    probability) and accuracy over bins ((m-1)/15, m/15], weighted by their images (Guo et al. 2017,
    equation 3). `brier`: the mean over images of the squared errors summed over all classes, 0…2
    (Brier 1950); with two classes it is twice the score of the positive column alone.
    """
    if not len(labels):
        return {"ece": None, "brier": None}
    confidence = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    surplus = confidence - (labels == predicted)
    per_bin = np.bincount(np.digitize(confidence, edges, right=True), weights=surplus)
    squares = (probabilities - _one_hot(labels, probabilities)) ** 2
    return {
        "ece": float(np.abs(per_bin).sum() / len(labels)),
        "brier": float(squares.sum(axis=1).mean()),
    }


def mean_loss(
    labels: Integers, probabilities: Floats, name: str, *, label_smoothing: float = 0.0
) -> float | None:
    """The mean of a loss of `LOSSES` over the images, as Keras computes it from probabilities.

    (`Model.fit` may compute cross-entropy from the logits behind a softmax or sigmoid, which is not
    clipped: the two differ where a probability is nearer than 1e-7 to 0 or 1.) `label_smoothing` is the
    share of the truth that is spread evenly over all classes. None for no images.
    Raises UsageError for an unknown name.
    """
    if name not in LOSSES:
        raise UsageError(f"loss {name!r} is unknown; choose one of {', '.join(LOSSES)}")
    if not len(labels):
        return None
    truth = _one_hot(labels, probabilities)
    truth = truth * (1 - label_smoothing) + label_smoothing / truth.shape[1]
    return float(LOSSES[name](truth, probabilities).mean())


def beta(train_accuracy: float | None, other_accuracy: float | None) -> float | None:
    """Overfitting ratio β = train accuracy / other accuracy; None where one is unknown or the other is 0.

    Falconí et al. 2020, DOI 10.25046/aj050220, section 5, equation 7 divides by validation accuracy;
    its tables 8 and 10 divide by test accuracy.
    """
    if train_accuracy is None or not other_accuracy:
        return None
    return train_accuracy / other_accuracy


def overfits(train_accuracy: float | None, other_accuracy: float | None) -> bool | None:
    """Whether train accuracy is more than 10 points above the other; None where one is unknown.

    Falconí et al. 2020, DOI 10.25046/aj050220, section 4.3.3. Exactly 10 points are not more, whatever
    0.4 - 0.3 is in binary, hence the rounding.
    """
    if train_accuracy is None or other_accuracy is None:
        return None
    return round(train_accuracy - other_accuracy, 12) > OVERFIT_MARGIN


def with_overfitting(
    figures: Figures,
    train_accuracy: float | None,
    val_accuracy: float | None,
    test_accuracy: float | None,
) -> Figures:
    """The figures with β and the 10-point rule: against val as the paper defines them, and against test
    as its tables have them (`…_paper`). Accuracies are those of the kept epoch in inference mode."""
    return replace(
        figures,
        train_accuracy=train_accuracy,
        val_accuracy=val_accuracy,
        beta=beta(train_accuracy, val_accuracy),
        beta_paper=beta(train_accuracy, test_accuracy),
        overfit=overfits(train_accuracy, val_accuracy),
        overfit_paper=overfits(train_accuracy, test_accuracy),
    )


def _categorical_crossentropy(target: Floats, output: Floats) -> Floats:
    return -(target * np.log(_clip(_shares(output)))).sum(axis=1)


def _binary_crossentropy(target: Floats, output: Floats) -> Floats:
    output = _clip(output)
    return -(target * np.log(output) + (1 - target) * np.log(1 - output)).mean(axis=1)


def _mean_squared_error(target: Floats, output: Floats) -> Floats:
    return ((target - output) ** 2).mean(axis=1)


def _focal(target: Floats, output: Floats) -> Floats:
    """The loss of `models.heads` with its γ of 2 and α of 0.25."""
    output = _clip(_shares(output))
    return -0.25 * (target * (1 - output) ** 2 * np.log(output)).sum(axis=1)


LOSSES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "categorical_crossentropy": _categorical_crossentropy,
    "binary_crossentropy": _binary_crossentropy,
    "mse": _mean_squared_error,
    "focal": _focal,
}
"""Loss per image (n,) from one-hot labels and probabilities, both (n, K), by the name of --loss."""


def _shares(output: Floats) -> Floats:
    """Outputs (n, K) as shares of their sum, as Keras takes them where classes exclude each other."""
    return output / np.maximum(output.sum(axis=1, keepdims=True), EPSILON)


def _clip(probabilities: Floats) -> Floats:
    return np.clip(probabilities, EPSILON, 1 - EPSILON)


def _one_hot(labels: Integers, probabilities: Floats) -> Floats:
    return np.eye(probabilities.shape[1])[labels]


def _per_class(
    matrix: Integers, labels: Integers, probabilities: Floats | None, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Each class against the rest, in the order of `classes`."""
    total = matrix.sum()
    rows: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(classes):
        hits, actual, claimed = matrix[number, number], matrix[number].sum(), matrix[:, number].sum()
        rows[name] = {
            "n": int(actual),
            "sensitivity": _ratio(hits, actual),
            "specificity": _ratio(total - actual - claimed + hits, total - actual),
            "precision": _ratio(hits, claimed),
            "f1": _ratio(2 * hits, actual + claimed),
            "roc_auc": None if probabilities is None else roc_auc(labels == number, probabilities[:, number]),
        }
    return rows


def _binary(per_class: dict[str, dict[str, Any]], positive: str) -> dict[str, Any]:
    """The fields of `Figures` that need a positive class (Falconí et al. 2020, equations 8-10, 12, 13)."""
    row = per_class[positive]
    tpr, tnr = row["sensitivity"], row["specificity"]
    fpr = None if tnr is None else 1 - tnr
    return {
        "positive": positive,
        "f1": row["f1"],
        "roc_auc": row["roc_auc"],
        "tpr": tpr,
        "fpr": fpr,
        "tnr": tnr,
        "auc_paper": None if tpr is None or fpr is None else (1 + tpr - fpr) / 2,
    }


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _mean(values: Sequence[float | None], *, complete: bool = False) -> float | None:
    """The mean of the values that are defined; with `complete`, None unless all are."""
    defined = [value for value in values if value is not None]
    if not defined or (complete and len(defined) < len(values)):
        return None
    return math.fsum(defined) / len(defined)


def _decide(
    probabilities: Floats | None, predicted: ArrayLike | None, count: int, class_count: int
) -> Integers:
    if predicted is not None:
        chosen = _class_numbers(predicted, class_count, "predicted")
    elif probabilities is not None:
        chosen = probabilities.argmax(axis=1).astype(np.int64)
    else:
        raise DataError("predictions: neither classes nor probabilities; give one of them")
    if len(chosen) != count:
        raise DataError(f"predictions: {len(chosen)} for {count} labels; give one per image")
    return chosen


def _class_numbers(values: ArrayLike, class_count: int, what: str) -> Integers:
    numbers = np.asarray(values)
    if not numbers.size:
        return np.zeros(0, dtype=np.int64)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(f"{what}: {numbers.dtype} of shape {numbers.shape}; give one class number per image")
    outside = (numbers < 0) | (numbers >= class_count)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{what}: {numbers[row]} at position {row} is no class; use 0 to {class_count - 1}, one per class"
        )
    return numbers.astype(np.int64)


def _scores(values: ArrayLike, count: int, class_count: int) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if not scores.size and not count:
        return np.zeros((0, class_count))
    if scores.shape != (count, class_count):
        raise DataError(
            f"probabilities: shape {scores.shape}; give one row for each of {count} images "
            f"and one column for each of {class_count} classes"
        )
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise DataError(
            f"probabilities: the row at position {int(bad.argmax())} is not finite; predict that image again"
        )
    return scores


def _owners(patients: Sequence[str] | None, count: int) -> list[str]:
    owners = [""] * count if patients is None else [str(patient or "") for patient in patients]
    if len(owners) != count:
        raise DataError(
            f"patients: {len(owners)} for {count} images; give one per image, empty where unknown"
        )
    return owners


def _plain(value: Any) -> Any:
    """The value in JSON's own types; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
