"""The figures that are stored with a run, as `evaluate` measures them by default."""

from dataclasses import replace

from bccli.core.evaluation.decisions import stored_decisions
from bccli.core.evaluation.evaluate import Evaluation, evaluate
from bccli.core.evaluation.leaderboard import figures_json
from bccli.core.evaluation.subjects import subject_of
from bccli.core.evaluation.terms import Terms
from bccli.core.files import json_text
from bccli.core.metrics.figures import Figures
from bccli.core.runs.locks import locked
from bccli.core.runs.predictions import Predictions, read_predictions
from bccli.core.runs.run_folder import METRICS_FILE, PREDICTIONS_FILE, Run, load_run, replace_file
from bccli.core.runs.run_info import FOLDS

STORED = ("val", "test")
"""The splits whose figures are in metrics.json."""


def figures_of(run: Run, predictions: Predictions, split: str, *, positive: str | None = None) -> Figures:
    """Measure one split of a run's predictions as `evaluate` does by default."""
    return evaluate(subject_of(run, predictions, split), Terms(positive=positive)).whole


def store_temperature(evaluation: Evaluation, terms: Terms) -> None:
    """Store a temperature that was fitted by these `terms` with its run, for predict, and in metrics.json."""
    run, val = evaluation.subject.run, evaluation.subject.val
    if run is None or val is None or evaluation.temperature is None:
        return
    with locked(run.root):
        calibration = {"method": "temperature", "temperature": evaluation.temperature, "images": len(val)}
        calibrated = run.with_facts(calibration=calibration)
        measured = _measured_already(evaluation, terms) or _measured_anew(calibrated)
        replace_file(run, METRICS_FILE, json_text(figures_json(measured)), calibration=calibration)


def has_decisions(evaluation: Evaluation) -> bool:
    """Whether thresholds or sets were locked on val."""
    return bool(evaluation.whole.triage or evaluation.whole.conformal)


def store_decisions(evaluation: Evaluation) -> str:
    """Store thresholds and sets that were locked on val with their run, for predict; returns why they promise
    nothing there, if so.

    The answers of val are those of one fold each, and predict gives the mean of all folds.
    """
    run, figures = evaluation.subject.run, evaluation.whole
    if run is None or not has_decisions(evaluation):
        return ""
    if run.info.kind == FOLDS:
        return "it gives the mean of all folds, of which the answers of single ones in val promise nothing."
    facts = stored_decisions({"triage": figures.triage, "conformal": figures.conformal}, figures.temperature)
    with locked(run.root):
        load_run(run.root).with_facts(**facts).write_info()
    return ""


def _measured_already(evaluation: Evaluation, terms: Terms) -> list[Figures]:
    """The figures to be stored, those of test as just measured; none where they were measured otherwise."""
    subject = evaluation.subject
    borrowed = subject.run is not None and bool(subject.tree) != bool(subject.run.info.tree)
    if subject.split != "test" or borrowed or replace(terms, calibrate=None, by=None) != Terms():
        return []
    on_val = replace(subject.on_val(), temperature=evaluation.temperature)
    return [evaluate(on_val, Terms()).whole, evaluation.whole]


def _measured_anew(run: Run) -> list[Figures]:
    """The figures to be stored, from the predictions of the run."""
    predictions = read_predictions(run.file(PREDICTIONS_FILE), run.classes)
    return [figures_of(run, predictions, split) for split in STORED if split in predictions.splits]
