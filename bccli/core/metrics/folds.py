"""Figures of each fold, as mean and standard deviation beside those of all folds pooled.

Probabilities of different models need not be on one scale, so that a pooled area under the ROC curve may
be far from those of the folds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bccli.core.metrics.figures import Figures
from bccli.core.runs.predictions import Predictions

SPREAD = (
    "accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "loss",
    "log_loss", "patient_accuracy",
)  # fmt: skip
"""What is also given as mean and standard deviation over the folds."""


def over_folds(
    rows: Predictions, measure: Callable[[Predictions], Figures]
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The spread of measures over the folds of some rows, and why some have none.

    A spread has the names of the folds and, by measure, `mean`, `sd` (with n - 1) and `values`. None where
    there is one fold or none.
    """
    folds = rows.further.get("fold", ())
    names = sorted({name for name in folds if name}, key=lambda name: (len(name), name))
    if len(names) < 2:
        return None, {}
    if not all(folds):
        return None, {"folds": f"{folds.count('')} rows have no fold"}
    values = np.array(folds, object)
    figures = [measure(rows.where(values == name)) for name in names]
    spread, reasons = {}, {}
    for key in SPREAD:
        found = [getattr(entry, key) for entry in figures]
        missing = [name for name, value in zip(names, found, strict=True) if value is None]
        if not missing:
            mean, deviation = float(np.mean(found)), float(np.std(found, ddof=1))
            spread[key] = {"mean": mean, "sd": deviation, "values": found}
        elif len(missing) < len(names):
            reasons[f"folds.{key}"] = f"not defined in fold {', '.join(missing)}"
    return {"names": names, "measures": spread}, reasons
