"""From the predictions of a subject to its figures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bccli.core.data.positive_class import GIVEN
from bccli.core.errors import UsageError
from bccli.core.evaluation.breasts.choices import EXAM, LEVELS
from bccli.core.evaluation.decisions import conformal, triage
from bccli.core.evaluation.operating_points import (
    overlap_with_val,
    temperature_for,
    tempered,
    threshold_for,
    val_loss_of,
)
from bccli.core.evaluation.paper_comparison import beside
from bccli.core.evaluation.strata import groups_of, in_order, tests_of
from bccli.core.evaluation.subjects import Subject, in_order_of_names
from bccli.core.evaluation.terms import Measurement, Terms, chosen_on, chosen_on_val
from bccli.core.evaluation.tree_figures import measure_tree
from bccli.core.metrics.cases import known_patients
from bccli.core.metrics.figures import Figures, measure
from bccli.core.metrics.folds import over_folds
from bccli.core.metrics.overfitting import with_overfitting
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.aggregation import (
    at_level,
    drawn_again,
    image_keys,
    merged_in_words,
    mixed_patients,
    vote,
    with_owners,
)
from bccli.core.runs.predictions import Predictions


@dataclass(frozen=True)
class Evaluation:
    """The results of a subject: the figures of the whole, those of each group, and the rows they rest on.

    `units` has a row per image, patch, patient, breast or exam, as the level asks; they are made of `rows`,
    and measured as `asked`.
    """

    subject: Subject
    whole: Figures
    groups: tuple[Figures, ...]
    units: Predictions
    rows: Predictions
    asked: Measurement
    temperature: float | None
    val_loss: float = math.inf

    @property
    def figures(self) -> tuple[Figures, ...]:
        """The whole, then its groups."""
        return self.whole, *self.groups


def evaluate(subject: Subject, terms: Terms, watcher: Watcher = SILENT) -> Evaluation:
    """Measure a subject. Raises DataError, UsageError where the terms do not fit it."""
    if subject.patches and terms.level == "patch":
        if terms.calibrate:
            raise UsageError(
                f"--calibrate: {subject.name} has a temperature for images; leave --level patch out"
            )
        subject = subject.patches
    subject = in_order_of_names(subject)
    temperature = temperature_for(subject, terms, watcher)
    rows = with_owners(
        tempered(subject.predictions, temperature), several_per_image=subject.several_per_image
    )
    val = tempered(subject.val, temperature) if subject.val is not None and len(subject.val) else None
    asked = Measurement(subject, terms, terms.positive or subject.positive).with_views(val)
    asked = asked.with_films(val, rows)
    oddities = [*_several_classes(asked, rows), *(subject.films.remarks() if subject.films else ())]
    for sentence in oddities:
        watcher.warn(f"{subject.name}: {sentence}")
    if terms.threshold:
        asked = replace(asked, threshold=threshold_for(asked, rows, val))
    shared: dict[str, Any] = {
        "threshold": None
        if asked.threshold is None or terms.threshold is None
        else {
            "rule": str(terms.threshold),
            "value": asked.threshold,
            "chosen_on": chosen_on(terms.threshold),
        },
        "temperature": temperature,
    }
    units, whole = _figures(asked, rows)
    parts = _groups(asked, rows) if terms.by else []
    groups = tuple(replace(figures, **shared) for _, _, figures in parts)
    if terms.by:
        cases = [(name, part) for name, part, _ in parts]
        whole = replace(whole, heterogeneity=tests_of(terms.by, cases, whole.positive))
    overlap = overlap_with_val(subject, terms)
    for sentence in overlap if chosen_on_val(terms) else ():
        watcher.warn(f"{subject.name}: {sentence}")
    remarks = [*subject.predictions.notes, *oddities, *overlap]
    whole = replace(
        whole, **shared, remarks=remarks or None,
        triage=triage(subject, rows, val, terms), conformal=conformal(subject, rows, val, terms),
    )  # fmt: skip
    return Evaluation(
        subject,
        replace(whole, paper=beside(whole, subject.run.info) if subject.run else None),
        groups,
        units,
        rows,
        asked,
        temperature,
        val_loss_of(val),
    )


def _several_classes(asked: Measurement, rows: Predictions) -> Iterator[str]:
    """Say which cases have images of several classes, and which images belong to no case of the level."""
    level = asked.terms.level
    views = (asked.merged(rows)[1] if level in LEVELS else None) or {"several_classes": 0, "apart": 0}
    mixed = mixed_patients(rows) if level == "patient" else views["several_classes"]
    counting = "the last one" if len(rows.classes) > 2 else asked.positive or rows.classes[-1]
    if mixed:
        having = f"{level} has" if mixed == 1 else f"{level}s have"
        yield f"{mixed:,} {having} images of several classes; {counting} counts"
    if apart := views["apart"]:
        what = "image is" if apart == 1 else "images are"
        missing = "patient" if level == EXAM else "breast"
        yield f"{apart:,} {what} of an unknown {missing} and {'counts' if apart == 1 else 'count'} alone"


def _figures(asked: Measurement, rows: Predictions) -> tuple[Predictions, Figures]:
    """The cases that some rows become, and their figures, those of each fold beside them."""
    units, views = asked.merged(rows)
    units = asked.labelled(units)
    subject, terms = asked.subject, asked.terms
    figures = _measured(asked, units, rows)

    def of_fold(fold_rows: Predictions) -> Figures:
        return _measured_plainly(asked, asked.units_of(fold_rows), rounds=0)

    folds, why = over_folds(rows, of_fold)
    merged = merged_in_words(
        rows, units, terms.level, several_per_image=subject.several_per_image, patches=subject.cut,
        largest_of=subject.largest_of,
    )  # fmt: skip
    reasons = {**(figures.reasons or {}), **why} or None
    froc = _froc(asked, rows)
    return units, replace(
        figures, folds=folds, merged=merged, reasons=reasons, views=views, froc=froc
    )  # fmt: skip


def _froc(asked: Measurement, rows: Predictions) -> dict[str, Any] | None:
    """How well the boxes of a detector find lesions in the films of some rows."""
    if asked.subject.films is None:
        return None
    found = asked.films.measure(asked.subject.films.of(rows))
    patients = len(known_patients(rows.patients)) or None
    return replace(found, patients=patients, resampled=drawn_again(rows)).to_json()


def _measured_plainly(asked: Measurement, units: Predictions, *, rounds: int | None) -> Figures:
    """The figures of some cases."""
    return measure(
        units.labels,
        units.probabilities,
        units.classes,
        positive=asked.positive,
        patients=units.patients,
        owners=units.owners,
        resampled=drawn_again(units),
        loss=asked.subject.loss,
        predicted=units.predicted,
        rounds=rounds,
    )


def _measured(asked: Measurement, units: Predictions, rows: Predictions) -> Figures:
    """The figures of some units, and of the `rows` (patches or images) that they were made from."""
    subject, terms = asked.subject, asked.terms
    figures = _measured_plainly(asked, units, rounds=terms.rounds)
    origin = GIVEN if terms.positive else subject.positive_origin
    figures = replace(
        figures,
        name=subject.name,
        split=subject.split,
        level=terms.level,
        positive_origin=origin if figures.positive else None,
        **subject.facts,
        fusion=_fusion(subject, terms, units, rows, asked.positive),
        tree=_tree(subject, terms, units),
    )
    if figures.train_accuracy is None:
        return figures
    hits = rows.predicted == rows.labels
    tested = float(hits.mean()) if subject.split == "test" and len(hits) else None
    return with_overfitting(figures, figures.train_accuracy, figures.val_accuracy, tested)


def _tree(subject: Subject, terms: Terms, units: Predictions) -> dict[str, Any] | None:
    """The figures of the labels' tree, where there is one."""
    if subject.tree is None:
        return None
    merged = subject.merges(terms.level) or not subject.decide
    return measure_tree(subject.tree, units, decide=subject.decide, merged=merged, rounds=terms.rounds)


def _fusion(
    subject: Subject, terms: Terms, units: Predictions, rows: Predictions, positive: str | None
) -> dict[str, dict[str, float | None]] | None:
    """How many patches are classified right, and the accuracies of other ways from patches to images."""
    if terms.level != "image":
        return None
    if subject.patches:
        rows = subject.patches.predictions
        if terms.by:
            rows = _of_units(rows, units)
    elif not subject.several_per_image:
        return None
    ways = {"patch": rows, "vote": vote(rows), "mean": at_level(rows, "image", several_per_image=True)}
    ways |= {"largest": subject.images_of(rows)} if subject.largest_of else {}
    found = {}
    for name, cases in ways.items():
        figures = measure(cases.labels, None, cases.classes, positive=positive, predicted=cases.predicted)
        found[name] = {key: getattr(figures, key) for key in ("n", "accuracy", "balanced_accuracy", "f1")}
    return found


def _of_units(patches: Predictions, images: Predictions) -> Predictions:
    """The patches of some images."""
    known = set(images.paths)
    return patches.where(np.array([key in known for key in image_keys(patches)], bool))


def _groups(asked: Measurement, rows: Predictions) -> list[tuple[str, Predictions, Figures]]:
    """The groups of a breakdown by their names, each with its cases and figures: rows are chosen, then
    merged."""
    groups = groups_of(rows, str(asked.terms.by), asked.subject.name)
    found = []
    for name in in_order(groups.tolist()):
        units, figures = _figures(asked, rows.where(groups == name))
        found.append((name, units, replace(figures, group=name, watched_test=None)))
    return found


def figures_of_groups(
    entry: Evaluation, groups: np.ndarray, names: Sequence[str], rounds: int
) -> list[Figures]:
    """The plain figures of groups of an evaluation's rows, `groups` (n,) with the name of each row's."""
    found = []
    for name in names:
        units = entry.asked.units_of(entry.rows.where(groups == name))
        found.append(replace(_measured_plainly(entry.asked, units, rounds=rounds), group=name))
    return found
