"""The terms on which predictions are measured, and the cases that their rows then become."""

from dataclasses import dataclass, replace
from typing import Any

from bccli.core.errors import UsageError
from bccli.core.evaluation.breasts.choices import LEARNED, LEVELS, MEAN
from bccli.core.evaluation.breasts.units import at_breasts, learned_rule, refuse_unordered
from bccli.core.evaluation.breasts.view_fusion import MEAN_OF_VIEWS, ViewRule
from bccli.core.evaluation.detections.measuring import FITTING, FilmTerms, size_limits_of, threshold_on
from bccli.core.evaluation.subjects import Subject
from bccli.core.evaluation.tree_figures import labelled_by_tree
from bccli.core.metrics.decisions.triage import TriageRule
from bccli.core.metrics.thresholds import Rule, decide
from bccli.core.runs.aggregation import at_level
from bccli.core.runs.predictions import Predictions


@dataclass(frozen=True)
class Terms:
    """The terms of a measurement; `calibrate` None uses the temperature that a run has stored.

    `fuse_views` names the rule by which images become breasts and exams, at these levels.

    `rounds` are those of the bootstrap, None for as many as are needed. `triage` are promises that thresholds
    are locked for, at a `prevalence` as well, and `coverage` is that of conformal sets.
    """

    level: str = "image"
    fuse_views: str = MEAN
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
    """A subject and how it is measured; `threshold` is one of the probability of the positive class, and
    `films` is how boxes of a detector are."""

    subject: Subject
    terms: Terms
    positive: str | None
    threshold: float | None = None
    views: ViewRule = MEAN_OF_VIEWS
    films: FilmTerms = FITTING

    def with_films(self, val: Predictions | None, whole: Predictions) -> "Measurement":
        """The same with the threshold of boxes chosen on val, where other films are measured, and with sizes
        of lesions that are the same for the `whole` and for all of its parts."""
        found, rounds = self.subject.films, self.terms.rounds
        if found is None:
            return self
        chosen = val is not None and len(val) and self.subject.split != "val"
        threshold = threshold_on(found.of(val)) if val is not None and chosen else None
        limits = size_limits_of(FilmTerms(rounds=0).measure(found.of(whole))) if self.terms.by else None
        return replace(self, films=FilmTerms(threshold, limits, rounds))

    def merged(self, rows: Predictions) -> tuple[Predictions, dict[str, Any] | None]:
        """A row for each case of the level; and of breasts and exams how many images they have, and how these
        became one."""
        subject = self.subject
        if self.terms.level not in LEVELS:
            units = at_level(
                rows, self.terms.level, several_per_image=subject.several_per_image, positive=self.positive,
                largest_of=subject.largest_of,
            )  # fmt: skip
            return units, None
        images = subject.images_of(rows)
        units, found = at_breasts(images, self.terms.level, self.views, **self._about())
        chosen = "val" if self.terms.fuse_views == LEARNED else None
        return units, {"rule": str(self.views), "chosen_on": chosen, **found.to_json()}

    def with_views(self, val: Predictions | None) -> "Measurement":
        """The same with the rule of its views, chosen on val where that is asked for.

        Raises UsageError where the rule needs an order of the classes that nobody knows, DataError where val
        does not bear the choice.
        """
        rule, subject = self.terms.fuse_views, self.subject
        if self.terms.level not in LEVELS:
            return self
        refuse_unordered(
            subject.predictions.classes,
            rule,
            known=subject.knows_severity or self._directed,
            name=subject.name,
        )
        if rule != LEARNED:
            return replace(self, views=ViewRule(rule))
        images = None if val is None else subject.images_of(val)
        return replace(self, views=learned_rule(images, self.terms.level, **self._about()))

    @property
    def _directed(self) -> bool:
        """Whether the user says which of two classes is positive."""
        return self.terms.positive is not None and len(self.subject.predictions.classes) == 2

    def _about(self) -> dict[str, Any]:
        return {"positive": self.positive, "name": self.subject.name}

    def units_of(self, rows: Predictions) -> Predictions:
        """The cases that some rows become, labelled as the tree or the threshold says."""
        return self.labelled(self.merged(rows)[0])

    def labelled(self, units: Predictions) -> Predictions:
        """The same cases, labelled as the tree or the threshold says."""
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
        "fusion of views": terms.level in LEVELS and terms.fuse_views == LEARNED,
        "triage": bool(terms.triage),
        "conformal sets": terms.coverage is not None,
    }
    return [name for name, on_val in rests.items() if on_val]


def chosen_on(rule: Rule) -> str | None:
    """The split on which a rule chooses its threshold; None where the threshold is given."""
    return None if rule.name == "fixed" else "val"
