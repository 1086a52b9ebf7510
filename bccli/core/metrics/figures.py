"""How well predictions agree with labels: the measures of the contract, section 4.

Everywhere: n images, K classes; labels and predictions are class numbers 0…K-1 of shape (n,),
probabilities have shape (n, K). A ratio whose denominator is zero is None, never 0, 1 or NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

from bccli.core.errors import DataError
from bccli.core.metrics.bootstrap import intervals
from bccli.core.metrics.cases import are_grades, known_patients, material_of
from bccli.core.metrics.limits import Limits
from bccli.core.metrics.material import Floats, Material
from bccli.core.metrics.weighted import measures
from bccli.core.reading.json_types import misfit


@dataclass(frozen=True)
class Figures:
    """What `evaluate` says about one run on one split; the fields are the contract's JSON keys in order.

    Accuracies, rates and areas are shares in 0…1. `n` counts what the level names (images, patches, patients,
    breasts or exams), `patients` the known patients. `confusion_matrix` has a row per true and a column per
    predicted class. None is "does not apply" or "not defined here".

    Behind the contract's keys: `log_loss` is that of the probabilities, whatever `loss` was trained on;
    `resampled` says what the intervals drew again, so many `rounds` times; `ci_error` by how much other
    rounds would move their limits, `ci_left_out` the share of rounds that an interval leaves out, as its
    measure is not defined there. `reasons` say why a figure or an interval is None; `remarks` what has to
    be known of the figures besides. `merged` says what became one case, `folds` has mean and standard
    deviation of measures over the folds. `positive_origin` is how the positive class came about.
    `group` is the group of a breakdown, `fusion` has other ways from patches to images, `threshold` and
    `temperature` are what was applied to the probabilities, `paper` the published figures of `recipe`,
    `tree` what `tree_figures.measure_tree` says, `beta_rows` which images β is measured on where some are
    augmented copies, `watched_test` what test came to in the late epochs of a training that reported it;
    `triage` and `conformal` what thresholds and sets that were locked on val come to, `heterogeneity` whether
    the groups of a breakdown differ; `views` from how many images breasts and exams were fused, and how;
    `froc` how well a detector's boxes find lesions, which counts films at each level.
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
    watched_test: dict[str, Any] | None = None
    triage: dict[str, Any] | None = None
    heterogeneity: dict[str, Any] | None = None
    conformal: dict[str, Any] | None = None
    views: dict[str, Any] | None = None
    froc: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dumps(…, allow_nan=False)` takes: floats unrounded, what is not finite is None.

        `Figures(**figures.to_json())` gives the figures back.
        """
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}


class _Runs(TypedDict):
    runs: list[dict[str, Any]]


def figures_from_json(value: Any, where: str) -> list[Figures]:
    """The figures in the JSON of `evaluate`. Raises DataError for what is none, naming the place."""
    types = get_type_hints(Figures)
    wrong = misfit(value, _Runs, "figures")
    for number, row in enumerate([] if wrong else value["runs"]):
        for key in row:
            place = f"runs[{number}].{key}"
            wrong = wrong or (misfit(row[key], types[key], place) if key in types else place)
    if wrong:
        raise DataError(f"{where}: {wrong!r} is not what bccli writes there; copy the whole folder again")
    return [Figures(**row) for row in value["runs"]]


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

    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    >>> figures = measure([0, 0, 1, 1], probabilities, ["benign", "malignant"])
    >>> figures.positive, figures.accuracy, figures.tpr, figures.fpr
    ('malignant', 0.75, 0.5, 0.0)
    >>> figures.roc_auc, figures.majority_accuracy, figures.confusion_matrix
    (0.75, 0.5, [[2, 0], [1, 1]])
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


def _defined(found: Mapping[str, Floats]) -> dict[str, float | None]:
    """The measures of a single weighting, None where they are not defined."""
    return {name: None if math.isnan(values[0]) else float(values[0]) for name, values in found.items()}


def _picked(found: Mapping[str, float | None], names: Sequence[str]) -> dict[str, float | None]:
    return {name: found.get(name) for name in names}


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
