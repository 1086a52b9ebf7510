"""Thresholds that are locked on val so that a promise about patients holds on new ones.

A patient's score is the largest probability of the positive class among its images: it is set aside when all
of them lie below the threshold, and flagged when any does not. Thresholds are tested from the safest on, and
the last is taken before the first that fails: a fixed sequence of tests, each at 5 %, promises too much in
5 % of studies at most, however many thresholds there are (Maurer, Hothorn and Lehmacher 1995; Angelopoulos et
al. 2022, "Learn then Test", arXiv:2110.01052). Each test is the one-sided limit of Clopper and Pearson 1934,
DOI 10.1093/biomet/26.4.404.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.errors import DataError
from bccli.core.metrics.material import Bools, Floats

ALPHA = 0.05
"""In so many studies at most a promise may be too large."""


@dataclass(frozen=True)
class TriageRule:
    """What is promised: a `name` of RULES and its least value, the `target`."""

    name: str
    target: float

    def __str__(self) -> str:
        """As `--triage` has it."""
        return f"{self.name}={self.target:g}"


@dataclass(frozen=True)
class Patients:
    """n patients: their scores (n,), and which of them are positive (n,)."""

    scores: Floats
    positive: Bools


@dataclass(frozen=True)
class Locked:
    """A threshold, and what it came to on val: of `count` patients `misses` are wrong, and the share of the
    others is at least `bound`, by its one-sided 95 % limit."""

    threshold: float
    count: int
    misses: int
    bound: float


def patients_of(owners: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> Patients:
    """The patients that n images belong to: whose each is (n,), its probability of the positive class (n,),
    and whether it is of that class (n,).

    >>> patients_of(np.array(["a", "a", "b"]), np.array([0.2, 0.7, 0.1]), np.array([False, True, False]))
    Patients(scores=array([0.7, 0.1]), positive=array([ True, False]))
    """
    names, numbers = np.unique(owners, return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, numbers, np.asarray(scores, np.float64))
    return Patients(highest, np.bincount(numbers, positive, len(names)) > 0)


def lower_limit(right: int, count: int) -> float:
    """The one-sided 95 % limit from below of a share, of which `right` of `count` patients were observed.

    >>> round(lower_limit(149, 149), 4), round(lower_limit(28, 30), 3), lower_limit(0, 5)
    (0.9801, 0.805, 0.0)
    """
    if not right:
        return 0.0
    from scipy.special import betaincinv

    return float(betaincinv(right, count - right + 1, ALPHA))


def fewest(target: float) -> int:
    """How many patients it takes, all of them right, to promise so much.

    >>> fewest(0.98), fewest(0.9)
    (149, 29)
    """
    return math.ceil(math.log(ALPHA) / math.log(target))


Candidate = tuple[float, int, int]
"""A threshold, how many patients its promise is about, and how many of these are misses."""


def _set_aside(patients: Patients) -> Iterator[Candidate]:
    """Thresholds from low to high: the negative predictive value of who lies below."""
    order = np.argsort(patients.scores, kind="stable")
    scores, positives = patients.scores[order], np.cumsum(patients.positive[order])
    for index in range(1, len(scores)):
        if scores[index] > scores[index - 1]:
            yield float(scores[index]), index, int(positives[index - 1])


def _flagged(patients: Patients) -> Iterator[Candidate]:
    """Thresholds from high to low: the positive predictive value of who does not lie below."""
    order = np.argsort(-patients.scores, kind="stable")
    scores, negatives = patients.scores[order], np.cumsum(~patients.positive[order])
    for index in range(len(scores)):
        if index + 1 == len(scores) or scores[index + 1] < scores[index]:
            yield float(scores[index]), index + 1, int(negatives[index])


def _found(patients: Patients) -> Iterator[Candidate]:
    """Thresholds from low to high: the sensitivity, of the positive patients those that do not lie below."""
    scores = np.sort(patients.scores[patients.positive])
    for threshold in np.unique(scores).tolist():
        yield threshold, len(scores), int(np.searchsorted(scores, threshold))


@dataclass(frozen=True)
class _Kind:
    """How a promise is tested, what it is about, and the patients that it needs."""

    candidates: Callable[[Patients], Iterator[Candidate]]
    about: str
    among: Callable[[Patients], int]
    miss: str


RULES = {
    "npv": _Kind(_set_aside, "patients set aside", lambda patients: len(patients.scores), "positive"),
    "ppv": _Kind(_flagged, "patients flagged", lambda patients: len(patients.scores), "negative"),
    "sensitivity": _Kind(
        _found, "positive patients", lambda patients: int(patients.positive.sum()), "set aside"
    ),
}
"""What can be promised: that who is set aside is negative, that who is flagged is positive, or that who is
positive is not set aside, which holds whatever the prevalence is."""


def parse_triage(text: str) -> TriageRule:
    """Read --triage. Raises ValueError with what is wrong.

    >>> parse_triage("npv=0.98")
    TriageRule(name='npv', target=0.98)
    """
    name, _, number = text.partition("=")
    if name not in RULES:
        raise ValueError(f"{name!r} is no rule{nearest(name, RULES)}; say sensitivity=0.95 or npv=0.98")
    try:
        target = float(number)
    except ValueError:
        target = math.nan
    if not 0.5 <= target < 1:
        raise ValueError(f"{text!r}: {name} needs a share from 0.5 to below 1, such as {name}=0.95")
    return TriageRule(name, target)


def lock(rule: TriageRule, patients: Patients, where: str) -> Locked:
    """The threshold that a rule locks on the patients of val.

    Raises DataError, which says how many patients it would take, where they are too few, and where the safest
    threshold fails already.
    """
    kind, needed = RULES[rule.name], fewest(rule.target)
    if (count := kind.among(patients)) < needed:
        raise DataError(
            f"{where}: --triage {rule} needs at least {needed} {_among(rule)} in val, all of them right, and "
            f"there are {count}; take more patients, or promise less"
        )
    locked, first = None, None
    for threshold, count, misses in kind.candidates(patients):
        if count < needed:
            continue
        first = first or (count, misses)
        bound = lower_limit(count - misses, count)
        if bound < rule.target:
            break
        locked = Locked(threshold, count, misses, bound)
    if locked is None:
        raise DataError(f"{where}: --triage {rule} {_why(rule, first)}; promise less, or train a better run")
    return locked


def _among(rule: TriageRule) -> str:
    return "positive patients" if rule.name == "sensitivity" else "patients"


def _why(rule: TriageRule, first: tuple[int, int] | None) -> str:
    kind = RULES[rule.name]
    if first is None:
        return "finds no threshold that divides the patients of val"
    count, misses = first
    return (
        f"cannot be promised at any threshold: at the safest, {misses} of {count} {kind.about} are "
        f"{kind.miss}"
    )
