"""What several images of one breast say together: the mean, the gravest, or at least one of them.

Everywhere: probabilities (n, classes), classes in the order of their severity, the positive one of two last;
`members` (n,) number what becomes one of m. All rules work on the probability that a case is at least as
grave as a class, P(≥ k): what they make of it falls with k again, so that the classes' probabilities are its
differences, of two classes and of more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.evaluation.breasts.choices import MAX, MEAN, NOISY_OR
from bccli.core.metrics.losses import log_losses
from bccli.core.metrics.material import Floats, Integers

POWERS = (2.0, 4.0, 8.0, 16.0)
"""Between the mean (a power of 1) and the maximum (an infinite one)."""


@dataclass(frozen=True)
class ViewRule:
    """How views become one: `mean`, `max`, `noisy-or`, or a `power mean` of its `power`."""

    name: str
    power: float | None = None

    def __str__(self) -> str:
        return self.name if self.power is None else f"power mean of {self.power:g}"


MEAN_OF_VIEWS = ViewRule(MEAN)
CANDIDATES = (
    MEAN_OF_VIEWS,
    *(ViewRule("power mean", power) for power in POWERS),
    ViewRule(MAX),
    ViewRule(NOISY_OR),
)
"""What `learned` chooses among; of equal ones the first."""


def fused(rule: ViewRule, probabilities: Floats, members: Integers, count: int) -> Floats:
    """The probabilities (m, classes) of `count` cases, each of at least one row.

    Noisy-or is the distribution of the gravest of independent views: it takes views for unrelated, and so
    says more than each of them (Pearl 1988, "Probabilistic Reasoning in Intelligent Systems", section 4.3.2).

    >>> views = np.array([[0.8, 0.2], [0.4, 0.6]])
    >>> both = np.array([0, 0])
    >>> [fused(ViewRule(name), views, both, 1)[0, 1].round(2).item() for name in ("mean", "max", "noisy-or")]
    [0.4, 0.6, 0.68]
    """
    at_least = np.clip(probabilities[:, ::-1].cumsum(axis=1)[:, ::-1], 0, 1)
    found = np.ones((count, probabilities.shape[1]))
    for grade in range(1, probabilities.shape[1]):
        found[:, grade] = _joint(rule, at_least[:, grade], members, count)
    return found - np.append(found[:, 1:], np.zeros((count, 1)), axis=1)


def _joint(rule: ViewRule, values: Floats, members: Integers, count: int) -> Floats:
    """Of values (n,) in 0…1, one for each case (m,)."""
    if rule.name == MAX:
        found = np.zeros(count)
        np.maximum.at(found, members, values)
        return found
    if rule.name == NOISY_OR:
        none = np.ones(count)
        np.multiply.at(none, members, 1 - values)
        return 1 - none
    power = rule.power or 1.0
    sizes = np.bincount(members, minlength=count)
    return np.asarray((np.bincount(members, values**power, count) / sizes) ** (1 / power))


def chosen_rule(candidates: Sequence[tuple[ViewRule, Floats]], labels: Integers) -> ViewRule:
    """The rule whose probabilities (m, classes) of the cases of val have the lowest mean log loss."""
    losses = [float(log_losses(labels, probabilities).mean()) for _, probabilities in candidates]
    return candidates[int(np.argmin(np.round(losses, 12)))][0]
