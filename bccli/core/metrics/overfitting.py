"""β and the 10-point rule of Falconí et al. 2020, DOI 10.25046/aj050220.

Where `augment` stored copies, train and val accuracy, and with them β, are measured on the originals.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.metrics.figures import Figures

ORIGINALS, ALL = "originals", "originals and augmented copies"
_TRAIN, _VAL, _TEST = (SPLITS.index(name) for name in ("train", "val", "test"))

OVERFIT_MARGIN = 0.10
"""Falconí et al. 2020, section 4.3.3: a model is rejected above this difference."""


def beta(train_accuracy: float | None, other_accuracy: float | None) -> float | None:
    """Overfitting ratio β = train accuracy / other accuracy; None where one is unknown or the other is 0.

    Falconí et al. 2020, DOI 10.25046/aj050220, section 5, equation 7 divides by validation accuracy;
    its tables 8 and 10 divide by test accuracy.

    >>> round(beta(1.00, 0.86), 2)  # its ResNet50, table 8
    1.16
    """
    if train_accuracy is None or not other_accuracy:
        return None
    return train_accuracy / other_accuracy


def overfits(train_accuracy: float | None, other_accuracy: float | None) -> bool | None:
    """Whether train accuracy is more than 10 points above the other; None where one is unknown.

    Falconí et al. 2020, DOI 10.25046/aj050220, section 4.3.3. Exactly 10 points are not more, whatever
    0.4 - 0.3 is in binary, hence the rounding.

    >>> overfits(0.4, 0.3), overfits(0.41, 0.3), overfits(0.41, None)
    (False, True, None)
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
    as its tables have them (`…_paper`). Accuracies are those of the chosen epoch in inference mode."""
    return replace(
        figures,
        train_accuracy=train_accuracy,
        val_accuracy=val_accuracy,
        beta=beta(train_accuracy, val_accuracy),
        beta_paper=beta(train_accuracy, test_accuracy),
        overfit=overfits(train_accuracy, val_accuracy),
        overfit_paper=overfits(train_accuracy, test_accuracy),
    )


def accuracies(
    hits: np.ndarray, samples: Sequence[Sample], splits: np.ndarray, protocol: str
) -> dict[str, float | str | None]:
    """Train and val accuracy of n images, None where there is no such image.

    `hits` (n,) says which are classified correctly, `splits` (n,) are their splits. Copies do not count, so
    that β does not depend on them; by the paper's protocol they do where val or test hold some, too.
    `beta_rows` says which it was, None where there are no copies.
    """
    copies = np.array([bool(sample.parent) for sample in samples], bool) & (splits >= 0)
    measured = (splits == _VAL) | (splits == _TEST)
    everything = protocol.startswith("paper") and bool((copies & measured).any())
    counted = np.ones(len(copies), bool) if everything else ~copies
    return {
        "train_accuracy": _share(hits[counted & (splits == _TRAIN)]),
        "val_accuracy": _share(hits[counted & (splits == _VAL)]),
        "beta_rows": (ALL if everything else ORIGINALS) if copies.any() else None,
    }


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if len(hits) else None
