"""Operating points of two classes: from which probability on an image counts as positive."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.errors import DataError
from bccli.core.metrics.material import Floats
from bccli.core.metrics.roc import roc_curve


@dataclass(frozen=True)
class Rule:
    """How a threshold is found: a row of RULES with its aim, or `fixed` with the threshold itself."""

    name: str
    value: float | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value:g}"


def _youden(fpr: Floats, tpr: Floats, aim: float) -> int:
    """The point farthest above chance (Youden 1950, "Index for rating diagnostic tests", Cancer 3:32).

    Of several the one with the highest threshold, whatever their differences are in binary.
    """
    gain = tpr - fpr
    return int((gain >= gain.max() - 1e-12).argmax())


def _sensitivity(fpr: Floats, tpr: Floats, aim: float) -> int:
    """The first point, from the highest threshold down, that finds so many positives."""
    return int((tpr >= aim - 1e-12).argmax())


def _specificity(fpr: Floats, tpr: Floats, aim: float) -> int:
    """The last point that leaves so many negatives alone."""
    return int(np.flatnonzero(1 - fpr >= aim - 1e-12)[-1])


RULES: dict[str, Callable[[Floats, Floats, float], int]] = {
    "youden": _youden,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
}
"""The point of a ROC curve, thresholds falling, that meets an aim."""


def parse_rule(text: str) -> Rule:
    """Read --threshold. Raises ValueError with what is wrong.

    >>> parse_rule("sensitivity=0.95"), parse_rule("0.3")
    (Rule(name='sensitivity', value=0.95), Rule(name='fixed', value=0.3))
    """
    name, equals, number = text.partition("=")
    if name == "youden" and not equals:
        return Rule(name)
    if name in RULES and name != "youden":
        return Rule(name, _share(number, f"{name} needs a share, such as {name}=0.95"))
    if name[:1].isalpha() and name not in ("nan", "inf", "infinity"):
        raise ValueError(
            f"{text!r} is no rule{nearest(name, RULES)}; say youden, sensitivity=0.95 or a number"
        )
    return Rule("fixed", _share(text, f"{text!r} is not a probability from 0 to 1"))


def _share(text: str, complaint: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(complaint) from None
    if not 0 <= value <= 1:
        raise ValueError(complaint)
    return value


def choose_threshold(rule: Rule, is_positive: np.ndarray, scores: np.ndarray, where: str) -> float:
    """The threshold that a rule finds on val; both arrays (n,). Raises DataError where it cannot.

    >>> is_positive, scores = np.array([False, False, True, True]), np.array([0.1, 0.6, 0.4, 0.9])
    >>> for rule in ("youden", "sensitivity=1", "specificity=0.5"):
    ...     print(choose_threshold(parse_rule(rule), is_positive, scores, "run"))
    0.9
    0.4
    0.4
    """
    if rule.name == "fixed":
        return float(rule.value or 0.0)
    curve = roc_curve(is_positive, scores)
    if curve is None:
        raise DataError(
            f"{where}: val has images of one class only, or none; --threshold {rule} is chosen on val, "
            "so give a number instead"
        )
    fpr, tpr, thresholds = curve
    point = RULES[rule.name](fpr, tpr, rule.value or 0.0)
    return float(thresholds[point]) if np.isfinite(thresholds[point]) else float(np.nextafter(1.0, 2.0))


def decide(scores: np.ndarray, threshold: float, positive: int) -> np.ndarray:
    """Class numbers (n,) of two classes: `positive` at or above the threshold, the other one below.

    >>> decide(np.array([0.2, 0.3, 0.4]), 0.3, positive=1).tolist()
    [0, 1, 1]
    """
    return np.where(scores >= threshold, positive, 1 - positive)
