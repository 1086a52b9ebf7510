"""95 % intervals by a bootstrap over patients.

Images of one patient are alike, so that it is patients who are drawn again, with all their images (Field
and Welsh 2007, DOI 10.1111/j.1467-9868.2007.00593.x), and all classes at once: how many patients a class has
is as much a matter of chance as who they are. Rounds in which a measure is not defined, as they lack a
class, are left out; where they are many, there is no interval.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bccli.core.metrics.limits import HALF_DIGIT, Limits, Spread, as_wide_as_wilson, beyond
from bccli.core.metrics.material import Floats, Material
from bccli.core.metrics.support import FEWEST, Support, supports
from bccli.core.metrics.weighted import CELLS, chunks, measures

LEFT_OUT = 400
"""So many patients at most are left out in turn, to see how skewed their influence is."""
FEWEST_ROUNDS, MOST_ROUNDS = 1000, 20_000
"""Between these are the rounds, unless their number is given."""
MOST_CELLS = 10_000_000
"""So many images, times rounds, times classes, at most are looked at for that: about half a second."""


@dataclass(frozen=True)
class Intervals:
    """The limits of each measure or None, why there are none, and after how many rounds."""

    limits: Mapping[str, Limits | None] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None


def intervals(
    material: Material, *, rounds: int | None = None, seed: int = 0, unit: str = "patient"
) -> Intervals:
    """Limits for every measure; `unit` is what a cluster is, for the reasons.

    Without a number of `rounds` there are as many as the digits need.
    """
    if material.clusters < FEWEST:
        shown = f"{material.clusters} {unit}{'s' * (material.clusters != 1)}"
        return Intervals(None, {"ci": f"only {shown}; intervals need {FEWEST}"})
    limits: dict[str, Limits | None] = {}
    reasons: dict[str, str] = {}
    if material.sums.surplus is not None:
        limits["ece"], reasons["ece"] = None, _LEFT_OUT["ece"]
    found, behind = spreads([material], rounds=rounds, seed=seed)[0], supports(material)
    for name, spread in found.items():
        limits[name], why = None, ""
        if name in _LEFT_OUT:
            why = _LEFT_OUT[name]
        elif not math.isnan(spread.point):
            limits[name], why = _of_measure(name, spread, behind[name], unit)
        if why:
            reasons[name] = why
    return Intervals(limits, reasons, len(found["accuracy"].values))


def _of_measure(name: str, spread: "Spread", support: Support, unit: str) -> tuple[Limits | None, str]:
    """The limits of a measure, or None and the reason."""
    limits, why = spread.limits(support, unit)
    if limits:
        return as_wide_as_wilson(limits, spread, support), ""
    certain = name.partition(".")[0] in _SHARES and spread.point in (0, 1)
    if certain and support.clusters >= FEWEST:
        return beyond(spread.point, support.clusters), ""
    return None, why


def spreads(
    materials: Sequence[Material], *, rounds: int | None = None, seed: int = 0
) -> list[dict[str, Spread]]:
    """Every measure of each material; all are of the same clusters, and drawn alike."""
    clusters = materials[0].clusters
    source = np.random.default_rng(seed)
    point = _measured(materials, [np.ones((1, clusters))])
    values = _measured(materials, draws(source, clusters, rounds=rounds or FEWEST_ROUNDS))
    without = _measured(materials, leaving_out(clusters))

    def found() -> list[dict[str, Spread]]:
        return [
            {name: Spread(float(here[name][0]), over[name], left[name], clusters) for name in here}
            for here, over, left in zip(point, values, without, strict=True)
        ]

    if rounds is None and (more := _further_rounds(materials, found())):
        added = _measured(materials, draws(source, clusters, rounds=more))
        values = [
            {name: np.concatenate([before[name], after[name]]) for name in before}
            for before, after in zip(values, added, strict=True)
        ]
    return found()


def _further_rounds(materials: Sequence[Material], first: Sequence[Mapping[str, Spread]]) -> int:
    """How many rounds the digits need beyond the first ones, within what may be spent on them."""
    if materials[0].clusters < FEWEST:
        return 0
    errors = [
        limits.error
        for behind, spread_of in zip(map(supports, materials), first, strict=True)
        for name in _DIGITS
        if name in spread_of and not math.isnan(spread_of[name].point)
        if (limits := spread_of[name].limits(behind[name])[0])
    ]
    wanted = FEWEST_ROUNDS * (max(errors, default=0.0) / HALF_DIGIT) ** 2
    cells = sum(material.images * max(material.classes - 1, 1) for material in materials)
    return max(int(min(wanted, MOST_ROUNDS, MOST_CELLS / max(cells, 1))) - FEWEST_ROUNDS, 0)


def _measured(materials: Sequence[Material], weightings: Iterable[Floats]) -> list[dict[str, Floats]]:
    found: list[list[dict[str, Floats]]] = [[] for _ in materials]
    for weights in weightings:
        for index, material in enumerate(materials):
            found[index].append(measures(material, weights, every_class=False))
    return [
        {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} for blocks in found
    ]


def leaving_out(clusters: int) -> Iterator[Floats]:
    """Yield weightings (r, C) without one cluster each: of all, or of LEFT_OUT spread over them."""
    omitted = np.unique(np.linspace(0, clusters - 1, LEFT_OUT).astype(int))
    for chunk in chunks(len(omitted), clusters):
        weights = np.ones((len(omitted[chunk]), clusters))
        weights[np.arange(len(weights)), omitted[chunk]] = 0
        yield weights


def draws(source: np.random.Generator, clusters: int, *, rounds: int) -> Iterator[Floats]:
    """Yield weightings (r, C), `rounds` in all: how often each cluster is drawn.

    They are the same however many come at once.
    """
    step = max(1, CELLS // max(clusters, 1))
    for start in range(0, rounds, step):
        yield _drawn(source, clusters, min(step, rounds - start))


def _drawn(source: np.random.Generator, clusters: int, rounds: int) -> Floats:
    drawn = source.integers(0, clusters, (rounds, clusters))
    drawn += np.arange(rounds)[:, None] * clusters
    weights = np.bincount(drawn.reshape(-1), minlength=rounds * clusters)
    del drawn
    return weights.reshape(rounds, clusters).astype(np.float64)


_DIGITS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "tpr", "tnr", "patient_accuracy")
"""The measures whose limits say how many rounds are needed."""
_SHARES = frozenset({"accuracy", "tpr", "tnr", "fpr", "patient_accuracy", "sensitivity", "specificity"})
"""Shares of images, which have a limit also where nothing varies."""
_LEFT_OUT = {
    "ece": "resampling itself makes it larger",
    "majority_accuracy": "describes the images, not the classifier",
}
"""Measures without an interval, and why."""
