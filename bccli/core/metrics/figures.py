"""How well predictions agree with labels: the measures of the contract, section 4.

Everywhere: n images, K classes; labels and predictions are class numbers 0…K-1 of shape (n,),
probabilities have shape (n, K). A ratio whose denominator is zero is None, never 0, 1 or NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bccli.core.errors import DataError, UsageError
from bccli.core.metrics.bootstrap import Limits, intervals
from bccli.core.metrics.weighted import Floats, Integers, Material, areas, collect, measures, rank

EPSILON = 1e-7
"""Keras's fuzz factor: probabilities are kept this far from 0 and 1 before their logarithm is taken."""

OVERFIT_MARGIN = 0.10
"""Falconí et al. 2020, section 4.3.3: a model is rejected above this difference."""


@dataclass(frozen=True)
class Figures:
    """What `evaluate` says about one run on one split; the fields are the contract's JSON keys in order.

    Accuracies, rates and areas are shares in 0…1. `n` counts what the level names (images, patches or
    patients), `patients` the known patients. `confusion_matrix` has a row per true and a column per
    predicted class. None is "does not apply" or "not defined here".

    Behind the contract's keys: `log_loss` is that of the probabilities, whatever `loss` was trained on;
    `resampled` says what the intervals drew again, so many `rounds` times; `ci_error` by how much other
    rounds would move their limits, `ci_left_out` the share of rounds that an interval leaves out, as its
    measure is not defined there. `reasons` say why a figure or an interval is None; `remarks` what has to
    be known of the figures besides. `merged` says what became one case, `folds` has mean and standard
    deviation of measures over the folds. `positive_origin` is how the positive class came about.
    `group` is the part of a breakdown, `fusion` has other ways from patches to images, `threshold` and
    `temperature` are what was applied to the probabilities, `paper` the published figures of `recipe`,
    `tree` what `tree_figures.measure_tree` says, `beta_rows` which images β is measured on where some are
    augmented copies.
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
    pr_auc: float | None = None
    mcc: float | None = None
    kappa: float | None = None
    kappa_weights: str | None = None
    log_loss: float | None = None
    resampled: str | None = None
    rounds: int | None = None
    ci_error: dict[str, float] | None = None
    ci_left_out: dict[str, float] | None = None
    reasons: dict[str, str] | None = None
    group: str | None = None
    merged: str | None = None
    folds: dict[str, Any] | None = None
    positive_origin: str | None = None
    remarks: list[str] | None = None
    threshold: dict[str, Any] | None = None
    temperature: float | None = None
    fusion: dict[str, dict[str, float | None]] | None = None
    recipe: str | None = None
    paper: list[dict[str, Any]] | None = None
    tree: dict[str, Any] | None = None
    beta_rows: str | None = None

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
    patients: Sequence[str] | None = None,
    resampled: str | None = None,
    rounds: int | None = 0,
    **options: Any,
) -> Figures:
    """Measure one split; identity, overfitting and leakage are for the caller to fill in.

    Images, `patients` and `options` are as `material_of` takes them; without `probabilities`, what needs
    them is None. Intervals take so many `rounds`, or None for as many as their digits need; `resampled`
    says what these draw where `owners` are among the options.

    Two classes: `positive` is the last one unless given. More: `f1`, `roc_auc` and `pr_auc` are macro
    averages, one class against the rest, and `positive`, `tpr`, `fpr`, `tnr`, `auc_paper` are None.
    Cohen's κ is quadratic where all classes are grades.

    A class without images has no sensitivity and no AUC. As in scikit-learn, `balanced_accuracy` is
    the mean over the classes that occur and the macro `f1` over those that occur or are predicted,
    but a macro `roc_auc` or `pr_auc` needs them all. An empty split has counts and nothing else.

    Raises DataError for inputs that do not fit together, UsageError for an unknown class or loss.
    """
    material = material_of(labels, probabilities, classes, patients=patients, **options)
    known = known_patients(patients)
    found = _defined(measures(material, np.ones((1, material.clusters))))
    named = {entry.name for entry in fields(Figures)}
    per_class = _per_class(material, found, classes)
    numbers: dict[str, Any] = {name: value for name, value in found.items() if name in named}
    figures = Figures(
        **numbers,
        n=material.images,
        patients=len(known) or None,
        classes=list(classes),
        positive=None if material.positive is None else classes[material.positive],
        confusion_matrix=material.confusion.tolist(),
        per_class=per_class,
        calibration=_picked(found, ("ece", "brier")) if probabilities is not None else None,
        kappa_weights="quadratic" if are_grades(classes) else "none",
        resampled=resampled or unit_of(patients),
    )
    figures = replace(figures, reasons=_reasons(figures, probabilities is not None) or None)
    return figures if rounds == 0 else _with_intervals(figures, material, rounds)


def material_of(
    labels: ArrayLike,
    probabilities: ArrayLike | None,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    patients: Sequence[str] | None = None,
    owners: Integers | None = None,
    loss: str = "categorical_crossentropy",
    label_smoothing: float = 0.0,
    predicted: ArrayLike | None = None,
) -> Material:
    """The images of one split, checked and added up per patient.

    `predicted` replaces the most probable class (a threshold, a vote); of equally probable classes the
    first is predicted. `patients` names the patient of each image, "" where unknown; `owners` (n,) number
    what may not be separated, by default the patients. `loss` is what was trained on. Raises DataError for
    inputs that do not fit together, UsageError for an unknown name.
    """
    if positive is not None and positive not in classes:
        raise UsageError(f"positive class {positive!r} is unknown; choose one of {', '.join(classes)}")
    truth = _class_numbers(labels, len(classes), "labels")
    scores = None if probabilities is None else _scores(probabilities, len(truth), len(classes))
    per_image: dict[str, Floats] = {}
    if scores is not None:
        per_image = {
            "loss": losses(truth, scores, loss, label_smoothing=label_smoothing),
            "log_loss": _log_losses(truth, scores),
            "brier": ((scores - _one_hot(truth, scores)) ** 2).sum(axis=1),
        }
    numbers = clusters_of(patients, len(truth))
    return collect(
        truth,
        _decide(scores, predicted, len(truth), len(classes)),
        scores,
        numbers if owners is None else np.unique(owners, return_inverse=True)[1].astype(np.int64),
        classes=len(classes),
        positive=list(classes).index(positive or classes[-1]) if len(classes) == 2 else None,
        per_image=per_image,
        patients=numbers if known_patients(patients) else None,
        quadratic=are_grades(classes),
    )


def are_grades(classes: Sequence[str]) -> bool:
    """Whether the classes are steps of one scale, so that a near miss is less wrong than a far one."""
    return all(name.lower().startswith("grade") for name in classes)


PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "roc_auc", "pr_auc")
"""What is measured of each class against the rest, besides its number of images."""

_TOP = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "auc_paper", "tpr", "fpr", "tnr", "loss",
        "majority_accuracy", "patient_accuracy", "pr_auc", "mcc", "kappa", "log_loss")  # fmt: skip


def _per_class(
    material: Material, found: Mapping[str, float | None], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Each class against the rest, in the order of `classes`."""
    counts = material.confusion.sum(axis=1).tolist()
    return {
        name: {"n": counts[number], **{measure: found.get(f"{measure}.{number}") for measure in PER_CLASS}}
        for number, name in enumerate(classes)
    }


def _reasons(figures: Figures, scored: bool) -> dict[str, str]:
    """Why measures are None that could have been numbers."""
    undefined = [name for name in _TOP if getattr(figures, name) is None]
    missing = [name for name, row in (figures.per_class or {}).items() if not row["n"]]
    reasons = {}
    for name in undefined:
        if name in ("roc_auc", "pr_auc", "loss", "log_loss") and not scored:
            reasons[name] = "there are no probabilities"
        elif name in ("auc_paper", "tpr", "fpr", "tnr") and figures.positive is None:
            continue
        elif name == "patient_accuracy":
            reasons[name] = "no patient is known"
        elif missing:
            reasons[name] = f"there is no image of {', '.join(missing)}"
        else:
            reasons[name] = "all images are predicted to be of one class"
    return reasons


def _with_intervals(figures: Figures, material: Material, rounds: int | None) -> Figures:
    """The figures with the limits of each measure; those of a class have its name behind theirs."""
    found = intervals(material, rounds=rounds, unit=_noun(figures.resampled or ""))
    reasons = {**(figures.reasons or {})}

    def shown(name: str) -> str:
        measure, _, number = name.partition(".")
        return f"{measure}.{figures.classes[int(number)]}" if number else name

    if found.limits is None:
        return replace(figures, reasons={**reasons, **found.reasons})
    limits = _ordered({shown(name): entry for name, entry in found.limits.items()})
    reasons |= {f"ci.{shown(name)}": why for name, why in found.reasons.items()}
    present = {name: entry for name, entry in limits.items() if entry}
    return replace(
        figures,
        ci={name: [entry.low, entry.high] if entry else None for name, entry in limits.items()},
        rounds=found.rounds,
        ci_error={name: entry.error for name, entry in present.items()},
        ci_left_out={name: entry.left_out for name, entry in present.items() if entry.left_out} or None,
        reasons=reasons or None,
    )


def _noun(resampled: str) -> str:
    """What one of the resampled is called."""
    return next((noun for noun in ("patient", "group") if resampled.startswith(noun)), "image")


def _ordered(limits: dict[str, Limits | None]) -> dict[str, Limits | None]:
    """Measures in the order of their keys, then those of classes."""
    first = [name for name in (*_TOP, "ece", "brier") if name in limits]
    return {name: limits[name] for name in dict.fromkeys([*first, *sorted(limits)])}


def unit_of(patients: Sequence[str] | None) -> str:
    """What is drawn again for intervals."""
    if not known_patients(patients):
        return "images, as patients are unknown"
    return "patients, and each image of an unknown one" if "" in set(patients or ()) else "patients"


def known_patients(patients: Sequence[str] | None) -> set[str]:
    """The patients that have a name."""
    return set(patients or ()) - {""}


def clusters_of(patients: Sequence[str] | None, count: int) -> Integers:
    """The number of each image's patient, from 0; an image of an unknown patient is a patient of its own."""
    owners = _owners(patients, count)
    numbers: dict[str | int, int] = {}
    return np.array(
        [numbers.setdefault(owner or place, len(numbers)) for place, owner in enumerate(owners)], np.int64
    )


def _defined(found: Mapping[str, Floats]) -> dict[str, float | None]:
    """The measures of a single weighting, None where they are not defined."""
    return {name: None if math.isnan(values[0]) else float(values[0]) for name, values in found.items()}


def _picked(found: Mapping[str, float | None], names: Sequence[str]) -> dict[str, float | None]:
    return {name: found.get(name) for name in names}


def roc_auc(is_positive: ArrayLike, scores: ArrayLike) -> float | None:
    """The area under the ROC curve, both arguments (n,); None where positives or negatives are missing."""
    is_positive, scores = np.asarray(is_positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    ranking = rank(is_positive, scores, np.arange(len(scores)))
    area = float(areas(ranking, np.ones((1, len(scores))))[0][0])
    return None if math.isnan(area) else area


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


def mean_loss(
    labels: Integers, probabilities: Floats, name: str, *, label_smoothing: float = 0.0
) -> float | None:
    """The mean of a loss of `LOSSES` over the images, as Keras computes it from probabilities.

    (`Model.fit` may compute cross-entropy from the logits behind a softmax or sigmoid, which is not
    clipped: the two differ where a probability is nearer than 1e-7 to 0 or 1.) `label_smoothing` is the
    share of the truth that is spread evenly over all classes. None for no images.
    Raises UsageError for an unknown name.
    """
    values = losses(labels, probabilities, name, label_smoothing=label_smoothing)
    return float(values.mean()) if len(values) else None


def losses(labels: Integers, probabilities: Floats, name: str, *, label_smoothing: float = 0.0) -> Floats:
    """A loss of `LOSSES` for each image, (n,). Raises UsageError for an unknown name."""
    if name not in LOSSES:
        raise UsageError(f"loss {name!r} is unknown; choose one of {', '.join(LOSSES)}")
    truth = _one_hot(labels, probabilities)
    truth = truth * (1 - label_smoothing) + label_smoothing / truth.shape[1]
    return LOSSES[name](truth, probabilities)


def _log_losses(labels: Integers, probabilities: Floats) -> Floats:
    """The negative logarithm of each image's share of its own class, (n,), as scikit-learn clips it."""
    own = np.take_along_axis(_shares(probabilities), labels[:, None], axis=1)[:, 0]
    return -np.log(np.clip(own, np.finfo(np.float64).eps, 1))


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
