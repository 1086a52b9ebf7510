"""What the figures rest on: how many patients, and as how many equally large ones these count.

Ten patients with one image and one with ninety say hardly more than a single one. Where a measure adds up
images, patients count as (Σ images)² / Σ images² equally large ones (Kish 1965, "Survey Sampling", section
11.7); limits are widened by that number (Carter, Schnepel and Steigerwald 2017, DOI 10.1162/REST_a_00639,
do so for regressions).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bccli.core.metrics.material import Floats, Material

FEWEST = 5
"""With fewer patients there are no intervals (contract, section 2)."""


@dataclass(frozen=True)
class Support:
    """The clusters that have what a measure is about; as how many equal ones they count; how many it needs.

    `hull` says how far limits reach at least: as Wilson's interval of a share, from 0 (without the widening
    that few clusters ask for) to 1 (with all of it); None where there is no such least. Where they are not
    `widened`, that is all that few clusters ask for.
    """

    clusters: int
    equal: float
    needed: int = 2
    hull: float | None = None
    widened: bool = True


def supports(material: Material) -> Mapping[str, Support]:
    """What each measure rests on, by its name in the contract, those of single classes as `f1.NUMBER`.

    A share rests on the clusters of its class. Where a class is compared with the rest, as by areas, the
    harmonic mean of both sides counts. The others add up images of all clusters, F1 among them, whose
    clusters are nevertheless those of its class. A measure of a single class, or of two of which one is
    positive, needs FEWEST clusters of it, as few of them lie: of 100 studies with two patients, 20.
    """
    total = material.sums.counts[:, 0].sum(axis=1)
    every = equally_large(total)
    classes = [_of_class(material, number, total, every) for number in range(material.classes)]
    present = [found for found in classes if found["sensitivity"].clusters]
    rarest = min((found["sensitivity"].clusters for found in present), default=0)
    least = min((found["roc_auc"].equal for found in present), default=every)
    needed = 2 if material.positive is None else FEWEST
    whole = {
        **dict.fromkeys(_OF_ALL, Support(material.clusters, every)),
        "accuracy": Support(material.clusters, every, hull=1.0),
        "patient_accuracy": Support(material.clusters, float(material.clusters), hull=1.0),
        "f1": Support(rarest, every, hull=0.5),
        **dict.fromkeys(("balanced_accuracy", "auc_paper"), Support(rarest, least, needed, hull=0.0)),
        **dict.fromkeys(("mcc", "kappa"), Support(rarest, (least + every) / 2, needed)),
        **dict.fromkeys(("roc_auc", "pr_auc"), Support(rarest, least, hull=0.5)),
    }
    if material.positive is not None:
        whole |= {name: classes[material.positive][own] for name, own in _OF_POSITIVE.items()}
    return whole | {
        f"{name}.{number}": support for number, found in enumerate(classes) for name, support in found.items()
    }


def equally_large(counts: Floats) -> float:
    """As how many equally large clusters those with so many images (C,) count; 0 without images.

    >>> equally_large(np.array([10.0, 10.0, 10.0])), round(equally_large(np.array([90.0, 1.0, 1.0])), 2)
    (3.0, 1.04)
    """
    return float(counts.sum() ** 2 / np.square(counts).sum()) if counts.any() else 0.0


def _of_class(material: Material, number: int, total: Floats, every: float) -> dict[str, Support]:
    """What the measures of one class rest on, where clusters have `total` images (C,)."""
    own, claimed = material.sums.counts[:, :2, number].T
    rest = total - own
    of_own, of_rest = equally_large(own), equally_large(rest)
    both = 2 * of_own * of_rest / (of_own + of_rest) if of_own and of_rest else 0.0

    having, others, predicted = (int((counts > 0).sum()) for counts in (own, rest, claimed))
    areas = Support(min(having, others), both, FEWEST, hull=0.5)
    return {
        "sensitivity": Support(having, of_own, FEWEST, hull=0.25),
        "specificity": Support(others, of_rest, FEWEST, hull=0.25),
        "precision": Support(min(having, predicted), equally_large(claimed), FEWEST, hull=0.5, widened=False),
        "f1": Support(having, every, FEWEST, hull=0.5),
        "roc_auc": areas,
        "pr_auc": areas,
    }


_OF_ALL = ("majority_accuracy", "loss", "log_loss", "brier", "ece")
_OF_POSITIVE = {
    "tpr": "sensitivity", "tnr": "specificity", "fpr": "specificity", "f1": "f1",
    "roc_auc": "roc_auc", "pr_auc": "pr_auc",
}  # fmt: skip
