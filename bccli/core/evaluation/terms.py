"""The terms on which predictions are measured, and the cases that their rows then become."""

from dataclasses import dataclass, replace

from bccli.core.errors import UsageError
from bccli.core.evaluation.subjects import Subject
from bccli.core.evaluation.tree_figures import labelled_by_tree
from bccli.core.metrics.decisions.triage import TriageRule
from bccli.core.metrics.thresholds import Rule, decide
from bccli.core.runs.aggregation import at_level
from bccli.core.runs.predictions import Predictions


@dataclass(frozen=True)
class Terms:
    """The terms of a measurement; `calibrate` None uses the temperature that a run has stored.

    `rounds` are those of the bootstrap, None for as many as are needed. `triage` are promises that thresholds
    are locked for, at a `prevalence` as well, and `coverage` is that of conformal sets.
    """

    level: str = "image"
    positive: str | None = None
    rounds: int | None = None
    threshold: Rule | None = None
    calibrate: bool | None = None
    by: str | None = None
    triage: tuple[TriageRule, ...] = ()
    prevalence: float | None = None
    coverage: float | None = None


@dataclass(frozen=True)
class Measurement:
    """A subject and how it is measured; `threshold` is one of the probability of the positive class."""

    subject: Subject
    terms: Terms
    positive: str | None
    threshold: float | None = None

    def units_of(self, rows: Predictions) -> Predictions:
        """The cases that some rows become, labelled as the tree or the threshold says."""
        units = at_level(rows, self.terms.level, several_per_image=self.subject.several_per_image)
        if self.subject.tree and self.subject.decide and self.subject.merges(self.terms.level):
            units = labelled_by_tree(self.subject.tree, self.subject.decide, units)
        if self.threshold is None or units.probabilities is None:
            return units
        number = number_of_positive(units, self.positive)
        return replace(units, predicted=decide(units.probabilities[:, number], self.threshold, number))


def number_of_positive(units: Predictions, positive: str | None) -> int:
    """The class number of the positive class, by default the last. Raises UsageError for an unknown one."""
    if positive is not None and positive not in units.classes:
        raise UsageError(f"positive class {positive!r} is unknown; choose one of {', '.join(units.classes)}")
    return units.classes.index(positive or units.classes[-1])


def chosen_on_val(terms: Terms) -> list[str]:
    """The temperature and the threshold that these terms choose on val."""
    rests = {
        "threshold": terms.threshold is not None and chosen_on(terms.threshold) == "val",
        "temperature": bool(terms.calibrate),
        "triage": bool(terms.triage),
        "conformal sets": terms.coverage is not None,
    }
    return [name for name, on_val in rests.items() if on_val]


def chosen_on(rule: Rule) -> str | None:
    """The split on which a rule chooses its threshold; None where the threshold is given."""
    return None if rule.name == "fixed" else "val"
