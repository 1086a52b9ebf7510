"""From stored predictions to the figures of the contract."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.data.label_tree import Tree, parse_tree
from bccli.core.data.numerals import real
from bccli.core.data.positive_class import GIVEN, UNKNOWN, find_positive
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.published import beside
from bccli.core.evaluation.tree_figures import decided, measure_tree
from bccli.core.files import file_hash, locked, read_json, write_json
from bccli.core.metrics.figures import Figures, mean_loss, measure, with_overfitting
from bccli.core.metrics.folds import over_folds
from bccli.core.metrics.significance import Side, compare, images_apart
from bccli.core.metrics.thresholds import Rule, choose_threshold, decide
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.aggregation import (
    at_level,
    drawn_again,
    holds_patches,
    holds_pieces,
    image_keys,
    in_order,
    merged_in_words,
    mixed_patients,
    refuse_contradictions,
    repeats,
    vote,
    with_owners,
)
from bccli.core.runs.predictions import Predictions, read_predictions
from bccli.core.runs.run_folder import COMPLETE, Run
from bccli.core.runs.run_info import RunInfo
from bccli.core.runs.temperature import COLDEST, HOTTEST, fit_temperature, temper, temperature_of

FORMAT = 1


@dataclass(frozen=True)
class Terms:
    """How predictions are to be measured; `calibrate` None uses the temperature that a run has stored.

    `rounds` are those of the bootstrap, None for as many as are needed.
    """

    level: str = "image"
    positive: str | None = None
    rounds: int | None = None
    threshold: Rule | None = None
    calibrate: bool | None = None
    by: str | None = None


@dataclass(frozen=True)
class Subject:
    """Whose predictions are measured: those of one split, and what is known beside them.

    `val` are the predictions that thresholds, temperatures and leaderboards rest on. `pieces` says that rows
    of one image become one: patches, or, without `cut`, what repeated folds say of it. Where rows are images
    that a fusion made of patches, `patches` is what it knew of these. `facts` are fields of `Figures`; train
    and val accuracy are those of the network. `tree` is that of the labels, if there is one, and `decide`
    how a run of kind tree chooses among them.
    """

    name: str
    predictions: Predictions
    val: Predictions | None
    pieces: bool
    split: str | None = None
    cut: bool = True
    positive: str | None = None
    positive_origin: str = UNKNOWN
    loss: str = "categorical_crossentropy"
    label_smoothing: float = 0.0
    temperature: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    run: Run | None = None
    patches: "Subject | None" = None
    tree: Tree | None = None
    decide: str | None = None

    def merges(self, level: str) -> bool:
        """Whether a unit of this level is made of several predictions."""
        return level == "patient" or (level == "image" and self.pieces)


@dataclass(frozen=True)
class Evaluation:
    """What came of a subject: the figures of the whole, those of each group, and the rows they rest on.

    `units` has a row per image, patch or patient, as the level asks.
    """

    subject: Subject
    whole: Figures
    groups: tuple[Figures, ...]
    units: Predictions
    temperature: float | None
    val_loss: float = math.inf

    @property
    def figures(self) -> tuple[Figures, ...]:
        """The whole, then its groups."""
        return self.whole, *self.groups


PATCHES = "patches.csv"
"""What a fusion's patch run says of each patch, beside its predictions.csv of images."""


def subject_of(run: Run, predictions: Predictions, split: str) -> Subject:
    """One split of a run's predictions, with what run.json knows."""
    subject = _subject(run, predictions, split)
    if run.info.kind != "fusion":
        return subject
    path = run.part(PATCHES) if run.complete else run.root / PATCHES
    return replace(subject, patches=_of_patches(subject, run, read_predictions(path, run.classes), split))


def _of_patches(subject: Subject, run: Run, patches: Predictions, split: str) -> Subject:
    """The same with the patches that images were fused from."""
    return replace(
        _subject(run, patches, split),
        pieces=True,
        temperature=None,
        facts={**subject.facts, **run.info.patches},
    )


def _subject(run: Run, predictions: Predictions, split: str) -> Subject:
    info = run.info
    return Subject(
        name=run.name,
        predictions=predictions.of_split(split),
        val=predictions.of_split("val"),
        pieces=run.preparation.patches is not None and holds_pieces(predictions),
        split=split,
        positive=info.positive,
        positive_origin=_origin(info),
        loss=info.loss or info.settings["loss"],
        label_smoothing=info.settings["label_smoothing"]
        if info.label_smoothing is None
        else info.label_smoothing,
        temperature=temperature_of(run),
        facts={
            "kind": info.kind,
            "backbone": info.backbone,
            "dataset": info.dataset,
            "protocol": info.protocol,
            "leakage": info.leakage.get(split),
            "train_accuracy": info.train_accuracy,
            "val_accuracy": info.val_accuracy,
            "beta_rows": info.beta_rows,
            "recipe": info.recipe,
        },
        run=run,
        tree=parse_tree(info.tree, str(run.root)) if info.tree else None,
        decide=info.decide or None,
    )


def _origin(info: RunInfo) -> str:
    """How a run's positive class came about."""
    ordered = info.dataset not in _NAMED_BY_USERS
    return str(info.positive_origin or find_positive(info.classes, ordered=ordered).origin)


_NAMED_BY_USERS = ("folder", "csv")
"""Datasets whose classes have any names."""


def runs_at(path: Path) -> tuple[list[Path], list[Path]]:
    """The folder of a run, or those of a sweep's members: the complete ones, and the others."""
    if not (path / "run.json").is_file() or read_json(path / "run.json").get("kind") != "sweep":
        return [path], []
    found: tuple[list[Path], list[Path]] = [], []
    for marker in sorted(path.glob("*/run.json")):
        found[read_json(marker).get("status") != COMPLETE].append(marker.parent)
    if not found[0]:
        raise DataError(f"{path}: no member of this sweep is complete; run the same bccli train again")
    return found


def subject_of_run(run: Run, split: str) -> Subject:
    """One split of a run. Raises DataError where the run has no predictions of it."""
    path = run.part("predictions.csv")
    predictions = read_predictions(path, run.classes)
    if split not in predictions.splits:
        there = ", ".join(sorted(set(predictions.splits))) or "none"
        raise DataError(f"{path}: has no images of {split}; it has {there}")
    return subject_of(run, predictions, split)


def subject_of_table(
    predictions: Predictions, name: str, split: str | None, *, level: str | None = None
) -> Subject:
    """Predictions that stand alone; `split` None takes all rows, as does a table without splits.

    Only rows with a corner in their image are patches, unless the `level` that was asked for says so, as
    image says that what several folds say of an image is averaged.
    """
    cut = holds_patches(predictions) or (level == "patch" and holds_pieces(predictions))
    pieces = cut or (level == "image" and repeats(predictions))
    if pieces and not cut and len(set(predictions.sources)) < len(set(predictions.paths)):
        predictions = replace(predictions, sources=())  # what several images share names none of them
    val = predictions.of_split("val") if any(predictions.splits) else None
    if split is not None and val is not None:
        chosen = predictions.of_split(split)
        if not len(chosen):
            raise DataError(f"{name}: has no images of {split}; choose another --split")
    else:
        split, chosen = None, predictions
    if pieces:
        refuse_contradictions(predictions, name, labels=level != "patch")
    accuracy = float((val.predicted == val.labels).mean()) if val is not None and len(val) else None
    facts = {"val_accuracy": accuracy}
    positive = find_positive(predictions.classes)
    return Subject(name, chosen, val, pieces, split, cut, positive.name, positive.origin, facts=facts)


def about_table(subject: Subject, table: Predictions) -> list[str]:
    """What has to be said of the rows of a table: those that are not measured, and those that look alike."""
    rows = subject.predictions
    sentences = []
    others = Counter(table.splits) - Counter(rows.splits)
    if others:
        named = " and ".join(f"{number:,} of {split}" for split, number in sorted(others.items()))
        sentences.append(f"{len(rows):,} rows of {subject.split} are measured; {named} are not")
    if subject.pieces:
        return sentences
    images = len(set(rows.paths))
    if images < len(rows):
        sentences.append(
            f"{len(rows):,} predictions of {images:,} images in several folds count one by one; "
            "--level image averages those of one image"
        )
    elif (found := len(set(rows.sources) - {""})) and found < len(rows):
        sentences.append(
            f"{len(rows):,} rows have {found:,} values of source, and each row counts as an image; with the "
            "columns row and col, or --level patch, they are patches"
        )
    return sentences


def with_trees(subjects: Sequence[Subject]) -> list[Subject]:
    """The subjects, those without a tree with the first other one's of the same labels, to be measured by."""

    def tree_for(subject: Subject) -> Tree | None:
        labels = set(subject.predictions.classes)
        fitting = (other.tree for other in subjects if other.tree and set(other.tree.leaves) == labels)
        return subject.tree or next(fitting, None)

    return [replace(subject, tree=tree_for(subject)) for subject in subjects]


def figures_of(run: Run, predictions: Predictions, split: str, *, positive: str | None = None) -> Figures:
    """Measure one split of a run's predictions as `evaluate` does unless it is told otherwise."""
    return evaluate(subject_of(run, predictions, split), Terms(positive=positive)).whole


def evaluate(subject: Subject, terms: Terms, watcher: Watcher = SILENT) -> Evaluation:
    """Measure a subject. Raises DataError, UsageError where the terms do not fit it."""
    if subject.patches and terms.level == "patch":
        if terms.calibrate:
            raise UsageError(
                f"--calibrate: {subject.name} has a temperature for images; leave --level patch out"
            )
        subject = subject.patches
    subject = _in_order(subject)
    temperature = _temperature(subject, terms, watcher)
    rows = with_owners(_tempered(subject.predictions, temperature), pieces=subject.pieces)
    val = _tempered(subject.val, temperature) if subject.val is not None and len(subject.val) else None
    if terms.level == "patient" and (mixed := mixed_patients(rows)):
        watcher.warn(f"{subject.name}: {mixed} patients have images of several classes; the last one counts")
    asked = _Asked(subject, terms, terms.positive or subject.positive)
    if terms.threshold:
        asked = replace(asked, threshold=_threshold(asked, rows, val))
    shared: dict[str, Any] = {
        "threshold": None
        if asked.threshold is None or terms.threshold is None
        else {
            "rule": str(terms.threshold),
            "value": asked.threshold,
            "chosen_on": _chosen_on(terms.threshold),
        },
        "temperature": temperature,
    }
    units, whole = _figures(asked, rows)
    groups = tuple(replace(group, **shared) for group in _groups(asked, rows)) if terms.by else ()
    overlap = _overlap(subject, terms)
    for sentence in overlap if _chosen_on_val(terms) else ():
        watcher.warn(f"{subject.name}: {sentence}")
    remarks = [*subject.predictions.notes, *overlap]
    whole = replace(whole, **shared, remarks=remarks or None)
    return Evaluation(
        subject,
        replace(whole, paper=beside(whole, subject.run.info) if subject.run else None),
        groups,
        units,
        temperature,
        _val_loss(val),
    )


def _in_order(subject: Subject) -> Subject:
    """The subject with its rows sorted by their names, so that nothing rests on how a table has them."""
    return replace(
        subject,
        predictions=in_order(subject.predictions),
        val=subject.val and in_order(subject.val),
        patches=subject.patches and _in_order(subject.patches),
    )


@dataclass(frozen=True)
class _Asked:
    """A subject and how it is measured; `threshold` is one of the probability of the positive class."""

    subject: Subject
    terms: Terms
    positive: str | None
    threshold: float | None = None

    def units_of(self, rows: Predictions) -> Predictions:
        """The cases that some rows become, labelled as the tree or the threshold says."""
        units = at_level(rows, self.terms.level, pieces=self.subject.pieces)
        if self.subject.tree and self.subject.decide and self.subject.merges(self.terms.level):
            units = decided(self.subject.tree, self.subject.decide, units)
        if self.threshold is None or units.probabilities is None:
            return units
        number = _number_of_positive(units, self.positive)
        return replace(units, predicted=decide(units.probabilities[:, number], self.threshold, number))


def _number_of_positive(units: Predictions, positive: str | None) -> int:
    if positive is not None and positive not in units.classes:
        raise UsageError(f"positive class {positive!r} is unknown; choose one of {', '.join(units.classes)}")
    return units.classes.index(positive or units.classes[-1])


def _overlap(subject: Subject, terms: Terms) -> list[str]:
    """What a table's val shares with the rows that are measured, where anything rests on val."""
    rows, val = subject.predictions, subject.val
    if subject.run or val is None or subject.split in (None, "val"):
        return []
    shared = {
        "patients": len(set(rows.patients) & set(val.patients) - {""}),
        "images": len(set(rows.paths) & set(val.paths)),
    }
    found = [f"{number} {what}" for what, number in shared.items() if number]
    chosen = _chosen_on_val(terms)
    verb = "rests" if len(chosen) == 1 else "rest"
    what = f"and the {' and the '.join(chosen)} {verb} on val" if chosen else "by which runs are put in order"
    return [f"{subject.split} shares {' and '.join(found)} with val, {what}"] if found else []


def _chosen_on_val(terms: Terms) -> list[str]:
    """What these terms choose on val."""
    rests = {
        "threshold": terms.threshold is not None and _chosen_on(terms.threshold) == "val",
        "temperature": bool(terms.calibrate),
    }
    return [name for name, on_val in rests.items() if on_val]


def _chosen_on(rule: Rule) -> str | None:
    return None if rule.name == "fixed" else "val"


def _val_loss(val: Predictions | None) -> float:
    """The log loss on val, which decides between equal accuracies; infinite where it is unknown."""
    if val is None or val.probabilities is None:
        return math.inf
    return mean_loss(val.labels, val.probabilities, "categorical_crossentropy") or 0.0


def _temperature(subject: Subject, terms: Terms, watcher: Watcher) -> float | None:
    if not terms.calibrate:
        return subject.temperature if terms.calibrate is None else None
    val = subject.val
    if val is None or val.probabilities is None:
        raise DataError(
            f"{subject.name}: has no probabilities of val, on which --calibrate rests; leave it out"
        )
    temperature = fit_temperature(val.labels, val.probabilities, subject.name)
    if not 1.01 * COLDEST < temperature < 0.99 * HOTTEST:
        watcher.warn(
            f"{subject.name}: val is told too well or too badly to calibrate by; T ends at {temperature:.3g}"
        )
    return temperature


def _tempered(predictions: Predictions, temperature: float | None) -> Predictions:
    if temperature is None or predictions.probabilities is None:
        return predictions
    return replace(predictions, probabilities=temper(predictions.probabilities, temperature))


_DIRECTED = ("sensitivity", "specificity")
"""Rules that mean nothing unless it is known which class is positive."""


def _threshold(asked: _Asked, units: Predictions, val: Predictions | None) -> float:
    """From which probability of the positive class on a case is positive."""
    subject, terms, classes = asked.subject, asked.terms, units.classes
    rule = terms.threshold or Rule("youden")
    if len(classes) != 2:
        raise UsageError(
            f"--threshold: {subject.name} has {len(classes)} classes, and it needs two; leave it out"
        )
    if units.probabilities is None:
        raise UsageError(f"--threshold: {subject.name} has no probabilities; leave it out")
    number = _number_of_positive(units, asked.positive)
    directed = rule.name in _DIRECTED or (rule.name == "fixed" and subject.run is not None)
    if directed and terms.positive is None and subject.positive_origin == UNKNOWN:
        raise UsageError(
            f"--threshold {rule}: nothing says which class of {subject.name} is positive; add --positive "
            + " or --positive ".join(classes)
        )
    known = np.zeros(0, bool), np.zeros(0)
    if val is not None and val.probabilities is not None:
        chosen = at_level(val, terms.level, pieces=subject.pieces)
        known = chosen.labels == number, np.asarray(chosen.probabilities)[:, number]
    return choose_threshold(rule, *known, subject.name)


def _figures(asked: _Asked, rows: Predictions) -> tuple[Predictions, Figures]:
    """The cases that some rows become, and their figures, those of each fold beside them."""
    units = asked.units_of(rows)
    subject, terms = asked.subject, asked.terms
    figures = _measured(asked, units, rows)

    def of_fold(part: Predictions) -> Figures:
        return _measured_plainly(asked, asked.units_of(part), rounds=0)

    folds, why = over_folds(rows, of_fold)
    merged = merged_in_words(rows, units, terms.level, pieces=subject.pieces, patches=subject.cut)
    reasons = {**(figures.reasons or {}), **why} or None
    return units, replace(figures, folds=folds, merged=merged, reasons=reasons)


def _measured_plainly(asked: _Asked, units: Predictions, *, rounds: int | None) -> Figures:
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
        label_smoothing=asked.subject.label_smoothing,
        predicted=units.predicted,
        rounds=rounds,
    )


def _measured(asked: _Asked, units: Predictions, rows: Predictions) -> Figures:
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
    """What the labels' tree has to say, where there is one."""
    if subject.tree is None:
        return None
    merged = subject.merges(terms.level) or not subject.decide
    return measure_tree(subject.tree, units, decide=subject.decide, merged=merged, rounds=terms.rounds)


def _fusion(
    subject: Subject, terms: Terms, units: Predictions, rows: Predictions, positive: str | None
) -> dict[str, dict[str, float | None]] | None:
    """How many of the patches are told right, and what other ways from them to images would reach."""
    if terms.level != "image":
        return None
    if subject.patches:
        rows = subject.patches.predictions
        if terms.by:
            rows = _of_units(rows, units)
    elif not subject.pieces:
        return None
    ways = {"patch": rows, "vote": vote(rows), "mean": at_level(rows, "image", pieces=True)}
    found = {}
    for name, cases in ways.items():
        figures = measure(cases.labels, None, cases.classes, positive=positive, predicted=cases.predicted)
        found[name] = {key: getattr(figures, key) for key in ("n", "accuracy", "balanced_accuracy", "f1")}
    return found


def _of_units(patches: Predictions, images: Predictions) -> Predictions:
    """The patches of some images."""
    known = set(images.paths)
    return patches.where(np.array([key in known for key in image_keys(patches)], bool))


def _groups(asked: _Asked, rows: Predictions) -> tuple[Figures, ...]:
    """The figures of each value of a trait, numbers in their order: rows are chosen, then merged."""
    subject, traits = asked.subject, rows.traits
    name = _column_meant(str(asked.terms.by), traits)
    if name not in traits or not any(traits[name]):
        telling = sorted(key for key, values in traits.items() if ":" not in key and len(set(values)) > 1)
        raise DataError(
            f"{subject.name}: does not say the {name} of its images{nearest(name, telling)}; --by can be "
            f"{', '.join(telling) or 'nothing here'}"
        )
    values = np.array(rows.traits[name], object)
    return tuple(
        replace(_figures(asked, rows.where(values == value))[1], group=f"{name} {value or 'unknown'}")
        for value in sorted(set(values.tolist()), key=_as_number)
    )


def _column_meant(name: str, columns: Collection[str]) -> str:
    """A column that has this name, or the only one that differs from it in capitals and blanks alone."""

    def plain(text: str) -> str:
        return text.strip().casefold()

    alike = [column for column in columns if plain(column) == plain(name)]
    return alike[0] if name not in columns and len(alike) == 1 else name


def _as_number(text: str) -> tuple[float, str]:
    try:
        return real(text), text
    except ValueError:
        return math.inf, text


def keep_temperature(evaluation: Evaluation) -> None:
    """Store a fitted temperature with its run: for predict, and for the figures in metrics.json."""
    run, val = evaluation.subject.run, evaluation.subject.val
    if run is None or val is None or evaluation.temperature is None:
        return
    with locked(run.root):
        calibration = {"method": "temperature", "temperature": evaluation.temperature, "images": len(val)}
        calibrated = run.with_facts(calibration=calibration)
        predictions = read_predictions(run.part("predictions.csv"), run.classes)
        present = [split for split in ("val", "test") if split in predictions.splits]
        write_json(
            run.root / "metrics.json",
            figures_json([figures_of(calibrated, predictions, split) for split in present]),
        )
        files = {**run.info.files, "metrics.json": file_hash(run.root / "metrics.json")}
        calibrated.with_facts(files=files).write_info()


def leaderboard(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Best first by accuracy on val, equal ones by log loss on val; those without val last, as they came.

    Nothing of test is looked at.
    """

    def place(entry: Evaluation) -> tuple[float, float]:
        accuracy = entry.whole.val_accuracy
        return (math.inf, 0.0) if accuracy is None else (-accuracy, entry.val_loss)

    return sorted(evaluations, key=place)


def with_remarks_on_images(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The same; of more than two, each says with which others it has no image in common."""
    if len(evaluations) < 3:
        return list(evaluations)  # the comparison of two says it
    apart = images_apart([entry.units for entry in evaluations])
    return [
        _remarking(entry, [evaluations[place].whole.name or "" for place in others]) if others else entry
        for entry, others in zip(evaluations, apart, strict=True)
    ]


def _remarking(entry: Evaluation, others: Sequence[str]) -> Evaluation:
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    remark = f"has no image in common with {named}: their figures cannot be compared"
    return replace(entry, whole=replace(entry.whole, remarks=[*(entry.whole.remarks or ()), remark]))


def comparison(evaluations: Sequence[Evaluation], terms: Terms) -> dict[str, Any] | None:
    """Two subjects against each other; None where there are not two."""
    if len(evaluations) != 2:
        return None
    sides = [Side(entry.whole.name or "", entry.units) for entry in evaluations]
    return compare(*sides, positive=evaluations[0].whole.positive, rounds=terms.rounds)


def figures_json(figures: Sequence[Figures], comparison: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The contract's JSON; a comparison of two stands behind it."""
    found: dict[str, Any] = {"format": FORMAT, "runs": [entry.to_json() for entry in figures]}
    return {**found, "comparison": dict(comparison)} if comparison else found
