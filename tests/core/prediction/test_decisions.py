"""Decisions are those that `evaluate` counted, down to the last stored digit."""

import numpy as np
import pytest

from bccli.core.prediction.decisions import Decisions
from bccli.core.runs.predictions import as_stored

CLASSES = "benign", "malignant"
SURE = 0.99999999987


def decided(share: float, *, rule: str, threshold: float) -> str:
    triage = {"positive": "malignant", "rules": [{"rule": rule, "target": 0.9, "threshold": threshold}]}
    return Decisions(triage=triage).of(np.array([1 - share, share]), CLASSES)["decision"]


@pytest.mark.parametrize("share", [SURE, 0.12345678949, 0.99999999949, 1e-12, 0.5])
def test_the_image_that_a_threshold_was_found_at_does_not_lie_below_it(share: float) -> None:
    stored = float(as_stored(share))
    for threshold in (stored, share):
        assert decided(share, rule="sensitivity", threshold=threshold) == "refer"
        assert decided(share, rule="npv", threshold=threshold) == "refer"
        assert decided(share, rule="ppv", threshold=threshold) == "positive"


def test_a_little_less_lies_below() -> None:
    assert decided(0.499999, rule="npv", threshold=0.5) == "negative"
    assert decided(0.499999, rule="ppv", threshold=0.5) == "refer"


def test_sets_of_a_run_that_is_always_sure_are_not_empty() -> None:
    sets = Decisions(limits={"benign": 1.0, "malignant": 1.0})
    assert sets.of(np.array([1 - SURE, SURE]), CLASSES) == {"set": "malignant"}
    assert sets.of(np.array([0.4, 0.6]), CLASSES) == {"set": ""}
