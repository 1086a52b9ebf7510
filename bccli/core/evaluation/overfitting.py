"""On which images train and val accuracy, and with them β, are measured where `augment` stored copies."""

from collections.abc import Sequence

import numpy as np

from bccli.core.data.manifest import SPLITS, Sample

ORIGINALS, ALL = "originals", "originals and augmented copies"
_TRAIN, _VAL, _TEST = (SPLITS.index(name) for name in ("train", "val", "test"))


def accuracies(
    hits: np.ndarray, samples: Sequence[Sample], parts: np.ndarray, protocol: str
) -> dict[str, float | str | None]:
    """Train and val accuracy of n images, None where there is no such image.

    `hits` (n,) says which are classified correctly, `parts` (n,) are their splits. Copies do not count, so
    that β does not depend on them; by the paper's protocol they do where val or test hold some, too.
    `beta_rows` says which it was, None where there are no copies.
    """
    copies = np.array([bool(sample.parent) for sample in samples], bool) & (parts >= 0)
    measured = (parts == _VAL) | (parts == _TEST)
    everything = protocol.startswith("paper") and bool((copies & measured).any())
    counted = np.ones(len(copies), bool) if everything else ~copies
    return {
        "train_accuracy": _mean(hits[counted & (parts == _TRAIN)]),
        "val_accuracy": _mean(hits[counted & (parts == _VAL)]),
        "beta_rows": (ALL if everything else ORIGINALS) if copies.any() else None,
    }


def _mean(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if len(hits) else None
