"""What deciding is worth: risk against coverage, net benefit, and predictive values at another prevalence."""

from dataclasses import dataclass

import numpy as np

from bccli.core.metrics.material import Bools, Floats


@dataclass(frozen=True)
class RiskCoverage:
    """Shares of cases that are answered, the surest first (n,), and the share of errors among them (n,).

    The `area` under the curve is 0 where all errors are the least sure answers' and rare (Geifman, Uziel and
    El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", arXiv:1805.08206).
    """

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """The mean risk over all coverages."""
        return float(self.risk.mean())


def risk_coverage(confidence: np.ndarray, wrong: np.ndarray) -> RiskCoverage:
    """The curve of n cases: how sure each answer is (n,), and whether it is wrong (n,).

    Cases that are equally sure have the mean of their errors, whatever their order.

    >>> confidence, wrong = np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, False, True, True])
    >>> risk_coverage(confidence, wrong).risk.round(2).tolist()
    [0.0, 0.0, 0.33, 0.5]
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sure, errors = np.asarray(confidence)[order], np.asarray(wrong, np.float64)[order]
    _, group, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    errors = (np.bincount(group, errors) / counts)[group]
    ranks = np.arange(1, len(errors) + 1)
    return RiskCoverage(ranks / len(errors), np.cumsum(errors) / ranks)


def net_benefit(scores: np.ndarray, positive: np.ndarray, thresholds: np.ndarray) -> Floats:
    """The net benefit (m,) of treating who scores at least each of m thresholds, in true positives a patient.

    Vickers and Elkin 2006, "Decision Curve Analysis", DOI 10.1177/0272989X06295361.

    >>> net_benefit(np.array([0.9, 0.4, 0.2]), np.array([True, False, False]), np.array([0.5])).round(3)
    array([0.333])
    """
    treated = np.asarray(scores)[:, None] >= thresholds
    hits, count = np.asarray(positive, bool)[:, None], len(scores)
    odds = thresholds / (1 - thresholds)
    result: Floats = (treated & hits).sum(axis=0) / count - (treated & ~hits).sum(axis=0) / count * odds
    return result


def net_benefit_of_all(positive: Bools, thresholds: np.ndarray) -> Floats:
    """The net benefit (m,) of treating everybody."""
    return net_benefit(np.ones(len(positive)), positive, thresholds)


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float | None, float | None]:
    """The negative and the positive predictive value at a prevalence; None where nobody is set aside, or
    flagged.

    >>> [round(value, 3) for value in predictive_values(0.9, 0.8, 0.5)]
    [0.889, 0.818]
    """
    aside = specificity * (1 - prevalence) + (1 - sensitivity) * prevalence
    flagged = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    return (
        specificity * (1 - prevalence) / aside if aside else None,
        sensitivity * prevalence / flagged if flagged else None,
    )
