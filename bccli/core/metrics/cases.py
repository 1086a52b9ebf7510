"""Labels, predictions and probabilities, checked and added up per patient: what measures are made of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bccli.core.errors import DataError, UsageError
from bccli.core.metrics.losses import CROSS_ENTROPY, Loss, log_losses, losses, one_hot
from bccli.core.metrics.material import Cases, Floats, Integers, Material, collect


def material_of(
    labels: ArrayLike,
    probabilities: ArrayLike | None,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    patients: Sequence[str] | None = None,
    owners: Integers | None = None,
    loss: Loss = CROSS_ENTROPY,
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
            "loss": losses(truth, scores, loss.name, label_smoothing=loss.label_smoothing),
            "log_loss": log_losses(truth, scores),
            "brier": ((scores - one_hot(truth, scores)) ** 2).sum(axis=1),
        }
    numbers = clusters_of(patients, len(truth))
    return collect(
        Cases(
            truth,
            _decide(scores, predicted, len(truth), len(classes)),
            scores,
            numbers if owners is None else np.unique(owners, return_inverse=True)[1].astype(np.int64),
            numbers if known_patients(patients) else None,
        ),
        classes=len(classes),
        positive=list(classes).index(positive or classes[-1]) if len(classes) == 2 else None,
        per_image=per_image,
        quadratic=are_grades(classes),
    )


def are_grades(classes: Sequence[str]) -> bool:
    """Whether the classes are steps of one scale, so that a near miss is less wrong than a far one."""
    return all(name.lower().startswith("grade") for name in classes)


def known_patients(patients: Sequence[str] | None) -> set[str]:
    """The patients that have a name."""
    return set(patients or ()) - {""}


def clusters_of(patients: Sequence[str] | None, count: int) -> Integers:
    """The number of each image's patient, from 0; an image of an unknown patient is a patient of its own.

    >>> clusters_of(["p7", "", "p7", ""], 4).tolist()
    [0, 1, 0, 2]
    """
    owners = _owners(patients, count)
    numbers: dict[str | int, int] = {}
    return np.array(
        [numbers.setdefault(owner or index, len(numbers)) for index, owner in enumerate(owners)], np.int64
    )


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
