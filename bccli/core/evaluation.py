"""From a run's stored predictions to the figures of the contract."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bccli.core.errors import DataError
from bccli.core.metrics import Figures, measure, with_overfitting
from bccli.core.predictions import Predictions, read_predictions
from bccli.core.runs import Run

FORMAT = 1


def evaluate_run(run: Run, split: str, *, positive: str | None = None) -> Figures:
    """The figures of one split of a run. Raises DataError where the run has no predictions of it."""
    path = run.part("predictions.csv")
    predictions = read_predictions(path, run.classes)
    if split not in predictions.splits:
        there = ", ".join(sorted(set(predictions.splits))) or "none"
        raise DataError(f"{path}: has no images of {split}; it has {there}")
    return figures_of(run, predictions, split, positive=positive)


def figures_of(run: Run, predictions: Predictions, split: str, *, positive: str | None = None) -> Figures:
    """Measure one split of a run's predictions and add what run.json knows."""
    info = run.info
    part = predictions.of_split(split)
    figures = measure(
        part.labels,
        part.probabilities,
        run.classes,
        positive=positive or info["positive"],
        patients=part.patients,
        loss=info["settings"]["loss"],
        label_smoothing=info["settings"].get("label_smoothing", 0.0),  # unknown to older runs
    )
    figures = replace(
        figures,
        name=run.name,
        kind=info["kind"],
        backbone=info["backbone"],
        dataset=info["dataset"],
        protocol=info["protocol"],
        split=split,
        level="patch" if run.preparation.patches else "image",
        leakage=info["leakage"].get(split),
    )
    tested = figures.accuracy if split == "test" else None
    return with_overfitting(figures, info["train_accuracy"], info["val_accuracy"], tested)


def evaluate_predictions(
    predictions: Predictions, name: str, split: str | None, *, positive: str | None = None
) -> Figures:
    """The figures of predictions that stand alone; `split` None takes all rows."""
    if split is not None and any(predictions.splits):
        predictions = predictions.of_split(split)
        if not len(predictions.labels):
            raise DataError(f"{name}: has no images of {split}; choose another --split")
    else:
        split = None
    figures = measure(
        predictions.labels,
        predictions.probabilities,
        predictions.classes,
        positive=positive,
        patients=predictions.patients,
        predicted=predictions.predicted,
    )
    return replace(figures, name=name, split=split, level="image")


def figures_json(figures: Sequence[Figures]) -> dict[str, Any]:
    """The contract's JSON."""
    return {"format": FORMAT, "runs": [entry.to_json() for entry in figures]}
