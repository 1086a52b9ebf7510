"""Choices made on val: the temperature of probabilities and the threshold of the positive class."""

import math
from dataclasses import replace

import numpy as np

from bccli.core.data.positive_class import UNKNOWN
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.subjects import Subject
from bccli.core.evaluation.terms import Measurement, Terms, chosen_on_val, number_of_positive
from bccli.core.metrics.losses import mean_loss
from bccli.core.metrics.thresholds import Rule, choose_threshold
from bccli.core.progress import Watcher
from bccli.core.runs.predictions import Predictions
from bccli.core.runs.temperature import COLDEST, HOTTEST, fit_temperature, temper


def overlap_with_val(subject: Subject, terms: Terms) -> list[str]:
    """What a table's val shares with the rows that are measured, where anything rests on val."""
    rows, val = subject.predictions, subject.val
    if subject.run or val is None or subject.split in (None, "val"):
        return []
    shared = {
        "patients": len(set(rows.patients) & set(val.patients) - {""}),
        "images": len(set(rows.paths) & set(val.paths)),
    }
    found = [f"{number} {what}" for what, number in shared.items() if number]
    chosen = chosen_on_val(terms)
    verb = "rests" if len(chosen) == 1 else "rest"
    what = f"and the {' and the '.join(chosen)} {verb} on val" if chosen else "by which runs are put in order"
    return [f"{subject.split} shares {' and '.join(found)} with val, {what}"] if found else []


def val_loss_of(val: Predictions | None) -> float:
    """The log loss on val, which decides between equal accuracies; infinite where it is unknown."""
    if val is None or val.probabilities is None:
        return math.inf
    return mean_loss(val.labels, val.probabilities, "categorical_crossentropy") or 0.0


def temperature_for(subject: Subject, terms: Terms, watcher: Watcher) -> float | None:
    """The temperature that the terms ask for: fitted to val, or stored with the run, or none."""
    if not terms.calibrate:
        return subject.temperature if terms.calibrate is None else None
    if subject.films is not None:
        raise UsageError(
            f"--calibrate: {subject.name} is a detector, which a temperature would leave with other "
            "probabilities than the scores of its boxes; leave it out"
        )
    val = subject.val
    if val is None or val.probabilities is None:
        raise DataError(
            f"{subject.name}: has no probabilities of val, on which --calibrate rests; leave it out"
        )
    temperature = fit_temperature(val.labels, val.probabilities, subject.name)
    if not 1.01 * COLDEST < temperature < 0.99 * HOTTEST:
        watcher.warn(
            f"{subject.name}: val is classified too well or too badly to calibrate by; T ends at "
            f"{temperature:.3g}"
        )
    return temperature


def tempered(predictions: Predictions, temperature: float | None) -> Predictions:
    """The predictions with their probabilities at a temperature."""
    if temperature is None or predictions.probabilities is None:
        return predictions
    return replace(predictions, probabilities=temper(predictions.probabilities, temperature))


_DIRECTED = ("sensitivity", "specificity")
"""Rules that mean nothing unless it is known which class is positive."""


def threshold_for(asked: Measurement, units: Predictions, val: Predictions | None) -> float:
    """The probability of the positive class from which on a case is positive."""
    subject, terms, classes = asked.subject, asked.terms, units.classes
    rule = terms.threshold or Rule("youden")
    if len(classes) != 2:
        raise UsageError(
            f"--threshold: {subject.name} has {len(classes)} classes, and it needs two; leave it out"
        )
    if units.probabilities is None:
        raise UsageError(f"--threshold: {subject.name} has no probabilities; leave it out")
    number = number_of_positive(units, asked.positive)
    directed = rule.name in _DIRECTED or (rule.name == "fixed" and subject.run is not None)
    if directed and terms.positive is None and subject.positive_origin == UNKNOWN:
        raise UsageError(
            f"--threshold {rule}: nothing says which class of {subject.name} is positive; add --positive "
            + " or --positive ".join(classes)
        )
    known = np.zeros(0, bool), np.zeros(0)
    if val is not None and val.probabilities is not None:
        chosen, _ = asked.merged(val)
        known = chosen.labels == number, np.asarray(chosen.probabilities)[:, number]
    return choose_threshold(rule, *known, subject.name)
