"""What follows from the figures: how good it is, how sure that is, where it fails, and on which images."""

from collections.abc import Iterator, Mapping

from bccli.core.catalog import DATASETS
from bccli.core.evaluation.checklists.facts import Facts
from bccli.core.evaluation.checklists.of_data import shared_sentences
from bccli.core.evaluation.checklists.state import Answer, filled, for_authors, not_met
from bccli.core.metrics.figures import Figures
from bccli.core.metrics.limits import digits_of
from bccli.core.runs.aggregation import words_of_level

_MEASURES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "f1": "F1", "roc_auc": "AUC",
    "pr_auc": "PR AUC", "tpr": "sensitivity", "tnr": "specificity", "mcc": "MCC", "kappa": "κ",
    "log_loss": "log loss", "ece": "ECE", "brier": "Brier score", "patient_accuracy": "patient accuracy",
}  # fmt: skip
_LEADING = "accuracy", "balanced_accuracy", "roc_auc", "tpr", "tnr", "f1"


def _value(figures: Figures, measure: str) -> float | None:
    calibrated = measure in ("ece", "brier")
    value: float | None = (
        (figures.calibration or {}).get(measure) if calibrated else getattr(figures, measure)
    )
    return value


def _with_limits(figures: Figures, measure: str) -> str:
    """Such as `AUC 0.913 (0.88–0.94)`; empty where the measure is not defined."""
    value = _value(figures, measure)
    if value is None:
        return ""
    limits = (figures.ci or {}).get(measure)
    digits = digits_of(max((figures.ci_error or {}).values(), default=None))
    shown = f" ({limits[0]:.{digits}f}–{limits[1]:.{digits}f})" if limits else ""
    return f"{_MEASURES[measure]} {value:.3f}{shown or ' (no interval)'}"


def _cases(figures: Figures) -> str:
    unit = words_of_level(figures.level)
    whose = "" if figures.level == "patient" else f" of {_patients(figures)}"
    return f"{figures.n:,} {unit}{whose}" + (f" in {figures.split}" if figures.split else "")


def _patients(figures: Figures) -> str:
    return "unknown patients" if figures.patients is None else f"{figures.patients:,} patients"


def _over_patients(figures: Figures) -> bool:
    """Whether intervals draw patients again."""
    return (figures.resampled or "").startswith("patients")


def metrics(facts: Facts) -> Answer:
    """Which measures were taken."""
    figures = facts.figures
    found = [name for measure, name in _MEASURES.items() if _value(figures, measure) is not None]
    if not found:
        return not_met("Nothing was measured.")
    positive = f"; the positive class is {figures.positive}" if figures.positive else ""
    majority = figures.majority_accuracy
    beside = "" if majority is None else f"; the most frequent class alone has an accuracy of {majority:.3f}"
    text = f"On {_cases(figures)}: {', '.join(found)}{positive}{beside}"
    return filled(f"{text}.", f"{facts.place}: {', '.join(_LEADING[:3])}, …")


def measures_and_plots(facts: Facts) -> Answer:
    """The same, and what else was measured for decisions."""
    first = metrics(facts)
    further = {"triage": facts.figures.triage, "conformal": facts.figures.conformal}
    named = {"triage": "Thresholds for triage with a decision curve", "conformal": "Conformal sets"}
    found = [named[name] for name, value in further.items() if value]
    return filled(" ".join([first.text, *(f"{one}." for one in found)]), first.where) if found else first


def uncertainty(facts: Facts) -> Answer:
    """How intervals were made."""
    figures = facts.figures
    if not figures.ci or not any(figures.ci.values()):
        why = (figures.reasons or {}).get("ci") or "none were asked for"
        return not_met(f"There are no intervals: {why}.", f"{facts.place}: reasons")
    where = f"{facts.place}: ci, resampled, rounds"
    text = f"95 % intervals by {figures.rounds:,} rounds of the bootstrap, which draws {figures.resampled}."
    if not _over_patients(figures):
        return not_met(f"{text} That is not by patient.", where)
    return filled(text, where)


def precision(facts: Facts) -> Answer:
    """Estimates with their intervals."""
    basis = uncertainty(facts)
    if basis.state != "filled":
        return basis
    text = ", ".join(filter(None, (_with_limits(facts.figures, name) for name in _LEADING)))
    groups = [f"{group.group}: {_with_limits(group, 'accuracy')}" for group in facts.groups]
    return filled(". ".join([f"{_cases(facts.figures)}: {text}", *groups]) + ".", f"{facts.place}: ci")


def performance(facts: Facts) -> Answer:
    """How good the model is on each split that was measured."""
    figures = facts.figures
    if figures.accuracy is None:
        return not_met("Nothing was measured.")
    shares = {"train": figures.train_accuracy, "val": figures.val_accuracy}
    where = figures.split or "all rows"
    others = [
        f"{split} {share:.3f}" for split, share in shares.items() if share is not None and split != where
    ]
    text = f"Accuracy on {', '.join([*others, f'{where} {figures.accuracy:.3f}'])} ({_cases(figures)})"
    return filled(f"{text}{_caveat(figures)}.", f"{facts.place}: train_accuracy, val_accuracy, accuracy")


def _caveat(figures: Figures) -> str:
    paper = (figures.protocol or "").startswith("paper")
    return f", protocol: {figures.protocol}" if paper else ""


def robustness(facts: Facts) -> Answer:
    """How figures differ over strata or folds."""
    found = [*_strata(facts), *_folds(facts.figures)]
    if not found:
        return not_met("No strata were measured; --by COLUMN measures them.")
    return filled(" ".join(found), facts.place if facts.groups else f"{facts.place}: folds")


def _strata(facts: Facts) -> Iterator[str]:
    named = [f"{one.group} {one.accuracy:.3f}" for one in facts.groups if one.accuracy is not None]
    if named:
        yield f"Accuracy by stratum: {', '.join(named)}."


def _folds(figures: Figures) -> Iterator[str]:
    folds = figures.folds or {}
    spread = (folds.get("measures") or {}).get("accuracy")
    if spread and spread.get("sd") is not None:
        yield f"Accuracy over folds: mean {spread['mean']:.3f}, standard deviation {spread['sd']:.3f}."


def heterogeneity(facts: Facts) -> Answer:
    """How figures differ over clusters, where strata were asked for."""
    strata = list(_strata(facts))
    if not strata:
        return not_met("No clusters were measured apart; --by COLUMN measures them.")
    return filled(" ".join(strata), facts.place)


def internal_test(facts: Facts) -> Answer:
    """The test on images that were held out of the data of training."""
    if facts.run is None:
        return for_authors("A table of predictions does not say what its model was trained on.")
    figures = _tested(facts)
    if figures is None or figures.accuracy is None:
        return not_met("No images of test were measured; on val the epoch was chosen.")
    if shared := shared_sentences({"test": figures.leakage or {}}):
        return not_met(shared, "run.json: leakage.test")
    if not _over_patients(figures):
        return not_met(
            f"Patients are unknown, so that nobody knows whether test ({_cases(figures)}) is apart."
        )
    place = facts.place if figures is facts.figures else "metrics.json"
    text = f"Accuracy on test {figures.accuracy:.3f} ({_cases(figures)}){_beside(figures)}{_caveat(figures)}."
    return filled(text, f"{place}: accuracy, train_accuracy, val_accuracy")


def _tested(facts: Facts) -> Figures | None:
    """The figures of the run's own test."""
    if facts.figures.split == "test":
        return facts.figures
    return next((figures for figures in facts.stored if figures.split == "test"), None)


def _beside(figures: Figures) -> str:
    """The accuracy on train and val beside that on test."""
    shares = {"train": figures.train_accuracy, "val": figures.val_accuracy}
    found = [f"{split} {share:.3f}" for split, share in shares.items() if share is not None]
    return f", beside {', '.join(found)}" if found else ""


def external_test(facts: Facts) -> Answer:
    """The test on data from elsewhere."""
    if facts.run is None:
        return for_authors("A table of predictions does not say what its model was trained on.")
    if facts.external is None:
        return not_met("No external data were measured; --data DATA measures them.")
    where = f"{facts.place}: dataset, leakage"
    if shared := shared_sentences({"data": facts.figures.leakage or {}}):
        return not_met(shared, where)
    name, own = facts.external.dataset, facts.run.dataset
    text = f"Measured on {name}: accuracy {facts.figures.accuracy or 0:.3f} ({_cases(facts.figures)})"
    if name == own and name in DATASETS and DATASETS[name].tasks:
        return not_met(f"The data measured are of the same dataset as those of training ({own}).", where)
    if name == own:
        return for_authors(f"{text}. Whether these are from elsewhere, the data do not say.", where)
    return filled(f"{text}; the run was trained on {own}.", where)


def failures(facts: Facts) -> Answer:
    """Where it is wrong."""
    figures = facts.figures
    matrix = figures.confusion_matrix or []
    wrong = {
        (true, said): count
        for true, row in zip(figures.classes, matrix, strict=True)
        for said, count in zip(figures.classes, row, strict=True)
        if true != said and count
    }
    text = f"Wrong are {sum(wrong.values()):,} of {figures.n:,}{_confusions(wrong)}{_surest(facts)}."
    return filled(text, f"{facts.place}: confusion_matrix" + ("; predictions.csv" if facts.run else ""))


def _confusions(wrong: Mapping[tuple[str, str], int]) -> str:
    named = [f"{count:,} {true} said to be {said}" for (true, said), count in wrong.items()]
    return f": {', '.join(named)}" if named else ""


def _surest(facts: Facts) -> str:
    named = [
        one.name + ("" if one.probability is None else f" ({one.predicted} with {one.probability:.3f})")
        for one in facts.mistakes
    ]
    return f". The surest mistakes: {', '.join(named)}" if named else ""


def limitations(facts: Facts) -> Answer:
    """Limits that the run itself shows."""
    figures = facts.figures
    found = {
        "patients are unknown": figures.patients is None,
        f"protocol: {figures.protocol}": (figures.protocol or "").startswith("paper"),
        "accuracy on train is far above that on val": bool(figures.overfit),
        "no external data were measured": facts.run is not None and facts.external is None,
        f"{figures.patients} patients were measured": figures.patients is not None,
    }
    named = [words for words, holds in found.items() if holds]
    return for_authors(f"The run shows: {'; '.join(named)}." if named else "", facts.place if named else "")
