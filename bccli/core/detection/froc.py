"""FROC: which share of the lesions is found at so many false boxes a film.

Free-response operating characteristic: Bunch et al. 1977, DOI 10.1117/12.955926; reviewed by Chakraborty
2013, DOI 10.1016/j.acra.2013.03.001. The rates, and the mean over them, are as in CAMELYON16 (Ehteshami
Bejnordi et al. 2017, DOI 10.1001/jama.2017.14585), less its rate of 8, and in the spirit of Niemeijer et al.
2011, DOI 10.1109/TMI.2010.2072789.
"""

from dataclasses import dataclass

import numpy as np

from bccli.core.detection.boxes import Floats
from bccli.core.detection.ranking import Matched, Ranking, rank
from bccli.core.metrics.material import Bools, Integers

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""False boxes a film at which sensitivity is given."""
_ROUNDING = 1e-9


def admitted(ranking: Ranking, films: Floats, weights: Floats, rate: float) -> Bools:
    """Whether each lesion is found at a rate (R, S), of films (C,) by cluster, by weightings (R, C).

    The curve is a staircase: of all thresholds with at most `rate` false boxes a film the lowest counts.
    Nothing is interpolated between two thresholds, as no threshold lies there.
    """
    return _within(ranking.false_beside(weights), weights @ films, rate)


def _within(false: Floats, films: Floats, rate: float) -> Bools:
    within: Bools = false <= (rate * films * (1 + _ROUNDING))[:, None]
    return within


def sensitivities(
    ranking: Ranking, lesions: Floats, films: Floats, weights: Floats, rates: tuple[float, ...] = RATES
) -> Floats:
    """The share of lesions that are found at each rate (rates, R), by weightings of clusters (R, C).

    `lesions` (C,) and `films` (C,) are how many a cluster has: all films or the normal ones, as the ranking
    has the false boxes of. NaN where a weighting has no lesion or no such film.
    """
    false, total = ranking.false_beside(weights), weights @ films
    gained = np.take(weights, ranking.owners, axis=1)
    found = np.array([np.einsum("rs,rs->r", gained, _within(false, total, rate)) for rate in rates])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, found / (weights @ lesions), np.nan)


@dataclass(frozen=True)
class Curve:
    """A FROC curve's K steps, by falling `thresholds` (K,): from there on, so many `false` boxes a film (K,)
    and this `sensitivity` (K,). Left of the first step nothing is found."""

    thresholds: Floats
    false: Floats
    sensitivity: Floats


def froc_curve(matched: Matched, counted: Bools) -> Curve:
    """The whole curve: a step at each score that a lesion is found at, and one at the least sure false box.

    False boxes are counted on the films `counted` (n,), of all n films. Without a lesion the sensitivity is
    NaN, without a film to count on the number of false boxes is.
    """
    ranking = rank(matched, np.zeros(len(counted), np.int64), counted)
    lasts = np.unique(ranking.level)
    thresholds, false, found = ranking.scores[lasts], ranking.beside[lasts], lasts + 1
    if len(ranking.false) > (false[-1] if len(false) else 0):
        thresholds = np.append(thresholds, ranking.false[-1])
        false, found = np.append(false, len(ranking.false)), np.append(found, len(ranking.lesions))
    with np.errstate(divide="ignore", invalid="ignore"):
        return Curve(thresholds, false / counted.sum(), found / np.float64(len(matched.scores)))


def threshold_at(matched: Matched, counted: Bools, rate: float = 1.0) -> float | None:
    """The lowest score from which on there are at most `rate` false boxes a film, on the films `counted`
    (n,) of n; None where the surest boxes are more already, or there is no box."""
    false = -np.sort(-matched.false[counted[matched.false_films]])
    allowed = int(np.floor(rate * counted.sum() * (1 + _ROUNDING)))
    scores = np.concatenate([matched.scores, matched.spare, matched.false])
    barred = false[allowed] if allowed < len(false) else -np.inf
    within = scores[scores > barred]
    return float(within.min()) if len(within) else None


def clusters_have(numbers: Integers, clusters: int) -> Floats:
    """How many of some things each cluster (C,) has, by their clusters' numbers."""
    return np.bincount(numbers, minlength=clusters).astype(np.float64)
