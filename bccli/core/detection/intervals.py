"""Intervals of a detector's figures, by drawing patients again with all their films.

The method is that of `metrics.bootstrap`: limits corrected for bias and skewness, wider where few patients
have what a figure is about, and none where these are fewer than five.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bccli.core.detection.boxes import Floats
from bccli.core.detection.froc import clusters_have
from bccli.core.detection.study import BASES, SIZED, SIZES, Study
from bccli.core.metrics.bootstrap import draws, leaving_out
from bccli.core.metrics.limits import Limits, Spread, as_wide_as_wilson, beyond
from bccli.core.metrics.support import FEWEST, Support, equally_large


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval; the `reason` says why the figure, or else its interval, is None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def measure_study(study: Study, *, rounds: int, seed: int, unit: str) -> dict[str, Measured]:
    """Every measure of a study with its interval, by `rounds` drawings; 0 for none.

    `unit` is what a cluster is, for the reasons.
    """
    if not study.films:
        return {}
    once = study.measured([np.ones((1, study.clusters))])
    point = {name: float(values[0]) for name, values in once.items()}
    if not rounds or study.clusters < FEWEST:
        shown = f"{study.clusters} {unit}{'s' * (study.clusters != 1)}"
        why = f"only {shown}; intervals need {FEWEST}" if rounds else None
        return {name: _plain(study, name, value, why) for name, value in point.items()}
    values = study.measured(draws(np.random.default_rng(seed), study.clusters, rounds=rounds))
    without = study.measured(leaving_out(study.clusters))
    behind = supports(study)
    return {
        name: _plain(study, name, value, None)
        if np.isnan(value)
        else _with_limits(Spread(value, values[name], without[name], study.clusters), behind[name], unit)
        for name, value in point.items()
    }


def _plain(study: Study, name: str, value: float, why: str | None) -> Measured:
    """A figure without an interval, and why there is none."""
    return Measured(None, reason=_undefined(study, name)) if np.isnan(value) else Measured(value, reason=why)


def _undefined(study: Study, name: str) -> str:
    """Why a measure is not defined."""
    about_false = ".false." in name
    if ".normal" in name and not study.normal.any():
        return "there is no film without a lesion"
    if not about_false and not study.lesions.any():
        return "there is no lesion"
    if name.endswith(".sensitivity"):
        return "there is no lesion of this size"
    return "no lesion is hit"


def _with_limits(spread: Spread, support: Support, unit: str) -> Measured:
    limits, why = _limits(spread, support, unit)
    if limits is None:
        return Measured(spread.point, reason=why)
    return Measured(spread.point, limits.low, limits.high)


def _limits(spread: Spread, support: Support, unit: str) -> tuple[Limits | None, str]:
    """The limits of a measure, or None and the reason. One with a `hull` is a share."""
    limits, why = spread.limits(support, unit)
    if limits:
        return as_wide_as_wilson(limits, spread, support), ""
    if support.hull is not None and spread.point in (0, 1) and support.clusters >= FEWEST:
        return beyond(spread.point, support.clusters), ""
    return None, why


def supports(study: Study) -> Mapping[str, Support]:
    """What each measure of a study rests on, by its name.

    What is about lesions rests on the patients who have some; where false boxes are counted on normal films,
    on these films' patients as well, by the harmonic mean of both. How wide limits are at least is chosen as
    for the sensitivity of a class and for areas.
    """
    lesions = _resting(study.lesions)
    films = {base: _resting(study.counts[base]) for base in BASES}
    both = _of_both(lesions, films["normal"])
    found: dict[str, Support] = {f"ap.{value:g}": _share(lesions, 0.5) for value in study.wanted.ious}
    for rule in study.matched:
        for base, support in (("all", lesions), ("normal", both)):
            found[f"{rule}.{base}.mean"] = _share(support, 0.25)
            for rate in study.wanted.rates:
                found[f"{rule}.{base}.{rate:g}"] = _share(support, 0.25)
            found[f"{rule}.false.{base}"] = films[base]
        found[f"{rule}.sensitivity"] = _share(lesions, 0.25)
        found[f"{rule}.iou_of_lesions"] = lesions
        found[f"{rule}.iou_of_hits"] = _resting(_hit(study, rule))
    for number, name in enumerate(SIZES):
        own = study.lesion_owners[study.sizes == number]
        found[f"{name}.sensitivity"] = _share(_resting(clusters_have(own, study.clusters)), 0.25)
        found[f"{name}.iou_of_hits"] = _resting(_hit(study, SIZED, number))
    return found


def _resting(counts: Floats) -> Support:
    """What rests on clusters that have so many of something (C,)."""
    return Support(int((counts > 0).sum()), equally_large(counts), FEWEST)


def _share(support: Support, hull: float) -> Support:
    """The same for a share."""
    return Support(support.clusters, support.equal, support.needed, hull)


def _of_both(one: Support, other: Support) -> Support:
    total = one.equal + other.equal
    equal = 2 * one.equal * other.equal / total if one.equal and other.equal else 0.0
    return Support(min(one.clusters, other.clusters), equal, FEWEST)


def _hit(study: Study, rule: str, size: int | None = None) -> Floats:
    """How many lesions of a size, or of any, are hit from the threshold on, by cluster (C,)."""
    threshold = study.thresholds[rule]
    hit = study.matched[rule].scores >= (np.inf if threshold is None else threshold)
    if size is not None:
        hit &= study.sizes == size
    return clusters_have(study.lesion_owners[hit], study.clusters)
