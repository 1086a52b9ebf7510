"""Figures of each fold, as mean and standard deviation."""

import numpy as np
import pytest

from bccli.core.metrics.figures import Figures
from bccli.core.metrics.folds import SPREAD, over_folds
from bccli.core.metrics.watched_test import watched_test
from bccli.core.runs.predictions import Predictions


def rows(*folds: str) -> Predictions:
    count = len(folds)
    return Predictions(
        classes=("a", "b"), splits=(), patients=("",) * count, labels=np.zeros(count, int),
        predicted=np.zeros(count, int), probabilities=None, paths=tuple(map(str, range(count))),
        further={"fold": folds},
    )  # fmt: skip


def test_a_measure_of_all_folds_has_its_mean_and_deviation_with_one_less() -> None:
    values = {"9": 0.5, "10": 0.7, "1": 0.9}
    spread, reasons = over_folds(
        rows("10", "9", "1", "9"), lambda part: Figures(accuracy=values[part.further["fold"][0]], n=len(part))
    )
    assert spread == {
        "names": ["1", "9", "10"],
        "measures": {
            "accuracy": {"mean": pytest.approx(0.7), "sd": pytest.approx(0.2), "values": [0.9, 0.5, 0.7]}
        },
    }
    assert reasons == {}


def test_a_measure_that_some_folds_lack_says_which() -> None:
    spread, reasons = over_folds(
        rows("0", "1", "2"), lambda part: Figures(f1=0.5 if part.further["fold"][0] == "1" else None)
    )
    assert spread == {"names": ["0", "1", "2"], "measures": {}}
    assert reasons == {"folds.f1": "not defined in fold 0, 2"}


def test_without_two_folds_or_with_rows_in_none_there_is_no_spread() -> None:
    for folds in ((), ("0", "0"), ("", "")):
        assert over_folds(rows(*folds), lambda part: Figures()) == (None, {})
    assert over_folds(rows("0", "1", "", ""), lambda part: Figures()) == (
        None,
        {"folds": "2 rows have no fold"},
    )


def test_what_has_a_spread_are_the_headlines() -> None:
    assert (
        *("accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "loss"),
        *("log_loss", "patient_accuracy"),
    ) == SPREAD
    spread, _ = over_folds(rows("0", "1"), lambda part: Figures(**dict.fromkeys(SPREAD, 0.5)))
    assert spread is not None
    assert tuple(spread["measures"]) == SPREAD


def test_the_curve_of_test_is_that_of_the_later_half() -> None:
    history = [
        {"epoch": 11 + number, "test_accuracy": value}
        for number, value in enumerate([0.9, 0.9, 0.3, 0.5, 0.4])
    ]
    assert watched_test(history) == {
        "first_epoch": 13,
        "last_epoch": 15,
        "mean_accuracy": pytest.approx(0.4),
        "best_accuracy": 0.5,
        "best_epoch": 14,
    }
    assert watched_test(history[:1]) == {
        **dict.fromkeys(("first_epoch", "last_epoch", "best_epoch"), 11),
        **dict.fromkeys(("mean_accuracy", "best_accuracy"), 0.9),
    }
    assert watched_test([{"epoch": 1}, {"epoch": 2}]) is watched_test([]) is None
