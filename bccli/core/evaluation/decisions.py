"""Triage and conformal sets of a run: locked on val, measured on the images that are evaluated.

What is promised is promised of patients. Images that come from patches, or that several folds answered for,
are merged to one image each before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.data.patients import known_patient
from bccli.core.data.positive_class import UNKNOWN
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.subjects import Subject
from bccli.core.evaluation.terms import Terms, number_of_positive
from bccli.core.metrics.decisions.benefit import (
    net_benefit,
    net_benefit_of_all,
    predictive_values,
    risk_coverage,
)
from bccli.core.metrics.decisions.conformal import ConformalSets, conformal_sets
from bccli.core.metrics.decisions.triage import Locked, Patients, TriageRule, lock, patients_of
from bccli.core.metrics.limits import wilson
from bccli.core.runs.predictions import Predictions

POINTS = 101
"""Points of a stored curve at most."""
_THRESHOLDS = np.linspace(0.01, 0.99, 99)
_ROUNDS = 2_000


@dataclass(frozen=True)
class _Side:
    """Images of one split: class numbers (n,), probabilities (n, classes), patients (n,)."""

    labels: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray

    def of_positive(self, number: int) -> Patients:
        """The patients, a class against all others."""
        return patients_of(self.patients, self.probabilities[:, number], self.labels == number)


def triage(
    subject: Subject, rows: Predictions, val: Predictions | None, terms: Terms
) -> dict[str, Any] | None:
    """What `--triage` comes to; None where it is not asked for.

    Raises UsageError where nothing says which class is positive, DataError where val cannot bear the promise.
    """
    if not terms.triage:
        return None
    positive = _positive(subject, rows, terms)
    number = number_of_positive(rows, positive)
    known, measured = _val_of(subject, val, "--triage"), _side(subject, rows, "--triage")
    patients = known.of_positive(number)
    locked = [lock(rule, patients, subject.name) for rule in terms.triage]
    return {
        "positive": positive,
        "unit": "patient",
        "optimistic": _chose_on_val(subject),
        "rules": [_rule_json(rule, one, patients) for rule, one in zip(terms.triage, locked, strict=True)],
        "measured": {
            str(rule): _measured(rule, one.threshold, measured.of_positive(number), terms.prevalence)
            for rule, one in zip(terms.triage, locked, strict=True)
        },
        "risk_coverage": _risk_coverage(measured),
        "decision_curve": _decision_curve(measured.of_positive(number)),
    }


def _positive(subject: Subject, rows: Predictions, terms: Terms) -> str:
    positive = terms.positive or subject.positive
    if positive is None or (terms.positive is None and subject.positive_origin == UNKNOWN):
        raise DataError(
            f"{subject.name}: nothing says which class is positive, so nobody can be set aside; add "
            f"--positive {' or --positive '.join(rows.classes)}"
        )
    return positive


def _val_of(subject: Subject, val: Predictions | None, option: str) -> _Side:
    """Val, which has to be apart from train. Raises DataError where it is not, or is not there."""
    if val is None or not len(val):
        raise DataError(f"{subject.name}: has no images of val, on which {option} rests; leave it out")
    known = subject.run.info.leakage.get("val") or {} if subject.run else {"patients": subject.val_in_train}
    shared = known.get("patients")
    if shared:
        raise DataError(
            f"{subject.name}: val shares {shared:,} patients with train, so {option} would promise too much; "
            "prepare the data with val apart from train"
        )
    return _side(subject, val, option)


def _side(subject: Subject, rows: Predictions, option: str) -> _Side:
    images = subject.images_of(rows)
    if images.probabilities is None:
        raise UsageError(f"{option}: {subject.name} has no probabilities; leave it out")
    if not all(map(known_patient, images.patients)):
        raise DataError(
            f"{subject.name}: has images of unknown patients, and {option} counts patients; leave it out, or "
            "name the patients"
        )
    return _Side(images.labels, np.asarray(images.probabilities), np.array(images.patients, str))


def _chose_on_val(subject: Subject) -> bool | None:
    """Whether val also chose the epoch, so that it flatters; None where nobody knows."""
    if subject.run is None:
        return None
    return subject.run.info.kept_epoch is not None or bool(subject.run.info.parts)


def _rule_json(rule: TriageRule, locked: Locked, patients: Patients) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "target": rule.target,
        "threshold": locked.threshold,
        "patients": len(patients.scores),
        "count": locked.count,
        "misses": locked.misses,
        "bound": locked.bound,
    }


def _measured(
    rule: TriageRule, threshold: float, patients: Patients, prevalence: float | None
) -> dict[str, Any]:
    """The figures of new patients, with Wilson's 95 % intervals over patients."""
    below, positive = patients.scores < threshold, patients.positive
    shares = {
        "set_aside": (below, np.ones(len(below), bool)),
        "flagged": (~below, np.ones(len(below), bool)),
        "npv": (~positive, below),
        "ppv": (positive, ~below),
        "sensitivity": (~below, positive),
        "specificity": (below, ~positive),
        "prevalence": (positive, np.ones(len(below), bool)),
    }
    found: dict[str, Any] = {"patients": len(below), "ci": {}}
    for name, (hits, among) in shares.items():
        count = int(among.sum())
        found[name] = float(hits[among].mean()) if count else None
        found["ci"][name] = _inside(wilson(found[name], count)) if count else None
    if prevalence is not None:
        npv, ppv = (
            predictive_values(found["sensitivity"], found["specificity"], prevalence)
            if None not in (found["sensitivity"], found["specificity"])
            else (None, None)
        )
        found["at_prevalence"] = {"prevalence": prevalence, "npv": npv, "ppv": ppv}
    return found


def _risk_coverage(side: _Side) -> dict[str, Any]:
    wrong = side.probabilities.argmax(axis=1) != side.labels
    curve = risk_coverage(side.probabilities.max(axis=1), wrong)
    shown = np.unique(np.linspace(0, len(wrong) - 1, POINTS).round().astype(int))
    return {
        "area": curve.area,
        "coverage": curve.coverage[shown].tolist(),
        "risk": curve.risk[shown].tolist(),
    }


def _decision_curve(patients: Patients) -> dict[str, Any]:
    return {
        "thresholds": _THRESHOLDS.round(2).tolist(),
        "model": net_benefit(patients.scores, patients.positive, _THRESHOLDS).tolist(),
        "all": net_benefit_of_all(patients.positive, _THRESHOLDS).tolist(),
    }


def conformal(
    subject: Subject, rows: Predictions, val: Predictions | None, terms: Terms
) -> dict[str, Any] | None:
    """What `--coverage` comes to; None where it is not asked for. Raises as `triage` does."""
    if terms.coverage is None:
        return None
    known, measured = _val_of(subject, val, "--coverage"), _side(subject, rows, "--coverage")
    sets = conformal_sets(known.labels, known.probabilities, known.patients, terms.coverage, subject.name)
    return {
        "coverage": sets.coverage,
        "by_class": sets.by_class,
        "limits": dict(zip(rows.classes, sets.limits, strict=True)),
        "patients": sets.patients,
        "approximate": _chose_on_val(subject) is not False,
        "measured": _measured_sets(sets, measured, rows.classes),
    }


def _measured_sets(sets: ConformalSets, side: _Side, classes: Sequence[str]) -> dict[str, Any]:
    """How often sets hold the true class, each patient having one vote, and how large they are."""
    members = sets.members(side.probabilities)
    held = members[np.arange(len(side.labels)), side.labels]
    _, owners = np.unique(side.patients, return_inverse=True)
    shares = np.bincount(owners, held) / np.bincount(owners)
    sizes = members.sum(axis=1)
    return {
        "n": len(held),
        "patients": len(shares),
        "coverage": float(shares.mean()),
        "ci": _limits_of_mean(shares),
        "mean_size": float(sizes.mean()),
        "single": float((sizes == 1).mean()),
        "empty": float((sizes == 0).mean()),
        "per_class": {
            name: float(held[side.labels == number].mean()) if (side.labels == number).any() else None
            for number, name in enumerate(classes)
        },
    }


def _limits_of_mean(shares: np.ndarray) -> list[float]:
    """The 95 % interval of the mean of patients' shares, at least as wide as Wilson's."""
    rng = np.random.default_rng(0)
    drawn = shares[rng.integers(0, len(shares), (_ROUNDS, len(shares)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    least, most = wilson(float(shares.mean()), len(shares))
    return _inside((min(low, least), max(high, most)))


def _inside(limits: tuple[float, float]) -> list[float]:
    return [max(limits[0], 0.0), min(limits[1], 1.0)]


def stored_decisions(figures: Mapping[str, Any], temperature: float | None) -> dict[str, Any]:
    """What run.json keeps of both, for `predict`; they hold at this temperature."""
    found: dict[str, Any] = {}
    if facts := figures.get("triage"):
        rules = [{key: rule[key] for key in ("rule", "target", "threshold")} for rule in facts["rules"]]
        found["triage"] = {"positive": facts["positive"], "rules": rules, "temperature": temperature}
    if facts := figures.get("conformal"):
        kept = {key: facts[key] for key in ("coverage", "limits")}
        found["conformal"] = {**kept, "temperature": temperature}
    return found
