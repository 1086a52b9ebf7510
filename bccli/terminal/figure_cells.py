"""The cells of `evaluate`'s tables: names of measures, values and intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from bccli.core.metrics.limits import digits_of
from bccli.terminal.writers import cell

Row = dict[str, Any]
Figures = Mapping[str, Any]
# What the terminal's table shows; JSON and CSV have all measures.
SHOWN = (
    "protocol", "level", "n", "patients", "positive", "accuracy", "majority_accuracy", "balanced_accuracy",
    "f1", "hierarchical_precision", "hierarchical_recall", "hierarchical_f1", "roc_auc", "pr_auc", "tpr",
    "tnr", "mcc", "kappa", "loss", "log_loss", "ece", "brier", "patient_accuracy",
    "train_accuracy", "val_accuracy", "beta", "beta_rows", "overfit",
)  # fmt: skip
HIERARCHICAL = {f"hierarchical_{name}": name for name in ("precision", "recall", "f1")}
_NAMES = {
    "roc_auc": "AUC",
    "pr_auc": "PR AUC",
    "mcc": "MCC",
    "kappa": "κ",
    "ece": "ECE",
    "beta": "β",
    "beta_paper": "β of the paper",
    "auc_paper": "AUC of the paper",
    "beta_rows": "β measured on",
}


def p_value(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def title_of(row: Figures) -> str:
    return " ".join(filter(None, (row["name"], row["split"], row["group"])))


def name_of(measure: str) -> str:
    return _NAMES.get(measure, measure.replace("_", " "))


def value_of(row: Figures, measure: str) -> Any:
    if measure in HIERARCHICAL:
        return ((row.get("tree") or {}).get("hierarchical") or {}).get(HIERARCHICAL[measure])
    return (row["calibration"] or {}).get(measure) if measure in ("ece", "brier") else row[measure]


def with_limits(row: Figures, measure: str) -> str | None:
    value = value_of(row, measure)
    return None if value is None else cell(value) + limits_of(row, measure)


def limits_of(row: Figures, measure: str) -> str:
    """An interval, where there is one, with as many decimals as are known of all of them."""
    limits = (row["ci"] or {}).get(measure)
    return limits_in_words(limits, digits_of(max((row["ci_error"] or {}).values(), default=None)))


def limits_in_words(limits: Sequence[float] | None, digits: int, *, signed: bool = False) -> str:
    if limits is None:
        return ""
    low, high = (f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}" for value in limits)
    return f" ({low} to {high})" if signed else f" ({low}–{high})"
