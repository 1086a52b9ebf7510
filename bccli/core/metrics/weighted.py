"""Every measure for many weightings of the same images at once: what intervals are made of.

n images belong to C clusters (patients) and have one of K classes. A weighting says how often each
cluster counts; R of them have shape (R, C), and each measure then has shape (R,). What is not defined
(a ratio whose denominator is zero) is NaN. Counts and sums are added up per cluster once; images are
sorted by their scores once. Memory is that of a chunk of weightings, and grows with K, not with its square.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.metrics.material import Floats, Material, Ranking, Steps, Sums

CELLS = 1 << 22
"""So many numbers at most are in an array of weightings by clusters, 32 MB, unless one weighting has more."""
IN_CACHE = 1 << 17
"""So many numbers at most are in an array of weightings by images, 1 MB, which a processor keeps at hand."""


def areas(ranking: Ranking, weights: Floats) -> tuple[Floats, Floats]:
    """The areas under the ROC curve and the precision–recall curve, each (R,).

    The first is the share of pairs in order, ties counting half (Hanley and McNeil 1982, DOI
    10.1148/radiology.143.1.7063747); the second is average precision, Σ (recall gained × precision), as in
    scikit-learn, without interpolation.
    """
    steps = ranking.steps
    roc, precision = np.empty((2, len(weights)))
    parts = chunks(len(weights), len(ranking.owners), IN_CACHE)

    def fill(part: slice) -> None:
        roc[part], precision[part] = _areas_of(steps, weights[part])

    if len(weights) * len(ranking.owners) < _WORTH_THREADS:
        for part in parts:
            fill(part)
        return roc, precision
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(available_cores()) as pool:
        for _ in pool.map(fill, parts):
            pass
    return roc, precision


def _areas_of(steps: Steps, weights: Floats) -> tuple[Floats, Floats]:
    gained = np.take(weights, steps.positives, axis=1)
    hits = np.cumsum(gained, axis=1)
    if steps.last is not None:
        hits = np.take(hits, steps.last, axis=1)
        gained = hits.copy()
        gained[:, 1:] -= hits[:, :-1]
    misses = np.zeros((len(gained), len(steps.negatives) + 1))
    np.cumsum(np.take(weights, steps.negatives, axis=1), axis=1, out=misses[:, 1:])
    above = level = np.take(misses, steps.above, axis=1)
    if steps.last is not None:
        level = np.take(misses, steps.level, axis=1)
        above = (above + level) / 2  # of negatives that a positive is tied with, half are above it
    positives, negatives = gained.sum(axis=1), misses[:, -1]
    pairs = positives * negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        roc = (pairs - np.einsum("rs,rs->r", gained, above)) / pairs
        # Before the first weight there is neither a hit nor a miss, and nothing is gained.
        shares = hits / np.maximum(hits + level, _SMALLEST)
        return roc, np.einsum("rs,rs->r", gained, shares) / positives


_WORTH_THREADS = 1 << 24
"""Numbers of weights by images from which on all cores take part; fewer are done in some 0.2 s by one."""
_SMALLEST = float(np.finfo(np.float64).tiny)


def chunks(rounds: int, width: int, most: int | None = None) -> list[slice]:
    """Slices of rounds, each with at most so many numbers (CELLS by default), or one round."""
    step = max(1, (most or CELLS) // max(width, 1))
    return [slice(start, min(start + step, rounds)) for start in range(0, rounds, step)]


def measures(material: Material, weights: Floats, *, every_class: bool = True) -> dict[str, Floats]:
    """Every measure (R,) for weightings (R, C), by its name in the contract; per class as `f1.NUMBER`.

    Without `every_class`, what has no interval is left out: areas of single classes where the headline does
    not need them, and the calibration error, which resampling itself makes larger.
    """
    counts = np.tensordot(weights, material.sums.counts, axes=1)
    found = {
        **_from_counts(counts, weights @ material.sums.distance, material),
        **_from_sums(material.sums, weights, counts[:, 0].sum(axis=1), calibration=every_class),
    }
    wanted = (
        [material.positive] if material.positive is not None and not every_class else range(material.classes)
    )
    for number in wanted:
        if number in material.rankings:
            found[f"roc_auc.{number}"], found[f"pr_auc.{number}"] = areas(material.rankings[number], weights)
    return {**found, **_headline(found, material)}


def _from_counts(counts: Floats, distance: Floats, material: Material) -> dict[str, Floats]:
    """What the counts of each class (R, 3, K) and the distances between truth and prediction (R,) say."""
    actual, claimed, hits = np.moveaxis(counts, 1, 0)
    total = actual.sum(axis=1)
    rest = total[:, None] - actual
    with np.errstate(divide="ignore", invalid="ignore"):
        per_class = {
            "sensitivity": hits / actual,
            "specificity": (rest - claimed + hits) / rest,
            "precision": hits / claimed,
            "f1": 2 * hits / (actual + claimed),
        }
        spread = (total**2 - (claimed**2).sum(axis=1)) * (total**2 - (actual**2).sum(axis=1))
        whole = {
            "accuracy": hits.sum(axis=1) / total,
            "balanced_accuracy": _mean(per_class["sensitivity"]),
            "majority_accuracy": actual.max(axis=1) / total,
            # Gorodkin 2004, DOI 10.1016/j.compbiolchem.2004.09.006, for any number of classes.
            "mcc": (total * hits.sum(axis=1) - (actual * claimed).sum(axis=1)) / np.sqrt(spread),
            # Cohen 1968, DOI 10.1037/h0026256.
            "kappa": 1 - distance * total / _by_chance(actual, claimed, quadratic=material.quadratic),
        }
    for name, values in per_class.items():
        whole |= {f"{name}.{number}": values[:, number] for number in range(material.classes)}
    return {name: np.where(np.isinf(values), np.nan, values) for name, values in whole.items()}


def _by_chance(actual: Floats, claimed: Floats, *, quadratic: bool) -> Floats:
    """The distances between all truths and all predictions, each image's with each image's, (R,).

    Not added up over pairs of classes (i, j): of those i ≠ j, all less the equal ones; of (i - j)², i² and j²
    less twice their product. In whole numbers both are exact.
    """
    total, claimed_total = actual.sum(axis=1), claimed.sum(axis=1)
    if not quadratic:
        return total * claimed_total - (actual * claimed).sum(axis=1)
    numbers = np.arange(actual.shape[1], dtype=np.float64)
    squares = actual @ numbers**2 * claimed_total + claimed @ numbers**2 * total
    return squares - 2 * (actual @ numbers) * (claimed @ numbers)


def _from_sums(sums: Sums, weights: Floats, total: Floats, *, calibration: bool) -> dict[str, Floats]:
    """What is a mean over images or patients; `total` (R,) counts images."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {name: weights @ values / total for name, values in sums.means.items()}
        if sums.surplus is not None and calibration:
            found["ece"] = np.abs(weights @ sums.surplus).sum(axis=1) / total
        if sums.right is not None:
            shares = weights @ sums.right
            found["patient_accuracy"] = shares[:, 0] / shares[:, 1]
    return found


def _headline(found: Mapping[str, Floats], material: Material) -> dict[str, Floats]:
    """The binary measures of the positive class (Falconí et al. 2020, equations 8-10, 12, 13), or means."""
    number = material.positive
    if number is None:
        named = {name: _of_classes(found, name, material.classes) for name in ("f1", "roc_auc", "pr_auc")}
        ways: dict[str, Callable[[Floats], Floats]] = {"f1": _mean}
        return {name: ways.get(name, _complete_mean)(of) for name, of in named.items() if of.size}
    tpr, tnr = found[f"sensitivity.{number}"], found[f"specificity.{number}"]
    areas = {name: found[f"{name}.{number}"] for name in ("roc_auc", "pr_auc") if f"{name}.{number}" in found}
    return {
        "f1": found[f"f1.{number}"],
        "tpr": tpr,
        "fpr": 1 - tnr,
        "tnr": tnr,
        "auc_paper": (1 + tpr - (1 - tnr)) / 2,
        **areas,
    }


def _of_classes(found: Mapping[str, Floats], name: str, classes: int) -> Floats:
    """A measure of every class, (R, K); empty where it was not measured."""
    columns: Sequence[Floats] = [found[key] for k in range(classes) if (key := f"{name}.{k}") in found]
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _mean(values: Floats) -> Floats:
    """The mean over the classes that have a value."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)


def _complete_mean(values: Floats) -> Floats:
    """The mean over classes, which all need a value."""
    return values.mean(axis=1)
