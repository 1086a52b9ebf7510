"""Thresholds meet their aims on val, and a temperature is the best one."""

import re

import numpy as np
import pytest
import scipy.optimize
import sklearn.metrics as judge
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import DataError
from bccli.core.metrics.thresholds import Rule, choose_threshold, decide, parse_rule
from bccli.core.models.runtimes import OUTPUTS
from bccli.core.runs.temperature import COLDEST, HOTTEST, fit_temperature, temper

scored = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def rates(is_positive: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity."""
    said = decide(scores, threshold, 1) == 1
    return float(said[is_positive].mean()), float((~said[~is_positive]).mean())


def test_of_equally_good_thresholds_the_largest_is_taken():
    """0.6 less 0.3 and 0.9 less 0.6 differ in binary, though both are three tenths."""
    is_positive = np.repeat([True, False, True, False], [6, 3, 3, 3])
    scores = np.repeat([0.8, 0.8, 0.4, 0.4], [6, 3, 3, 3])
    is_positive = np.append(is_positive, [True, *[False] * 4])
    scores = np.append(scores, [0.1] * 5)
    assert (is_positive.sum(), (~is_positive).sum()) == (10, 10)
    assert choose_threshold(Rule("youden"), is_positive, scores, "") == 0.8


@given(scored, st.sampled_from([0.0, 0.3, 0.8, 0.95, 1.0]))
def test_a_threshold_keeps_what_its_rule_promises(rows, aim):
    is_positive = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows]) / 20
    everything = [*np.unique(scores), 2.0]
    reached = [rates(is_positive, scores, threshold) for threshold in everything]

    found = rates(is_positive, scores, choose_threshold(Rule("sensitivity", aim), is_positive, scores, ""))
    assert found[0] >= aim - 1e-9
    assert found[1] == pytest.approx(max(spec for sens, spec in reached if sens >= aim - 1e-9))

    found = rates(is_positive, scores, choose_threshold(Rule("specificity", aim), is_positive, scores, ""))
    assert found[1] >= aim - 1e-9
    assert found[0] == pytest.approx(max(sens for sens, spec in reached if spec >= aim - 1e-9))

    found = rates(is_positive, scores, choose_threshold(Rule("youden"), is_positive, scores, ""))
    assert sum(found) == pytest.approx(max(sens + spec for sens, spec in reached))


def test_rules_are_read_as_they_are_written():
    assert parse_rule("youden") == Rule("youden")
    assert parse_rule("sensitivity=0.95") == Rule("sensitivity", 0.95)
    assert parse_rule("0.3") == Rule("fixed", 0.3)
    assert choose_threshold(parse_rule("0.3"), np.zeros(0, bool), np.zeros(0), "") == 0.3


@pytest.mark.parametrize("text", ["0", "1", "0.3", "1e-3", "5e-1", ".5"])
def test_a_number_from_0_to_1_is_a_threshold(text):
    assert parse_rule(text) == Rule("fixed", float(text))
    for name in ("sensitivity", "specificity"):
        assert parse_rule(f"{name}={text}") == Rule(name, float(text))
        assert str(parse_rule(f"{name}={text}")) == f"{name}={float(text):g}"
    assert str(parse_rule("youden")) == "youden"


MEANT = " (did you mean 'youden'?)"
NO_RULE = "{!r} is no rule{}; say youden, sensitivity=0.95 or a number"
NO_PROBABILITY = "{!r} is not a probability from 0 to 1"
NO_SHARE = "{0} needs a share, such as {0}=0.95"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *(
            (text, NO_PROBABILITY.format(text))
            for text in ("", "1.5", "-0.1", "nan", "inf", "infinity", "1=2")
        ),
        ("sensitivity", NO_SHARE.format("sensitivity")),
        ("sensitivity=2", NO_SHARE.format("sensitivity")),
        ("specificity=high", NO_SHARE.format("specificity")),
        ("youdn", NO_RULE.format("youdn", MEANT)),
        ("youden=1", NO_RULE.format("youden=1", MEANT)),
        ("youden=", NO_RULE.format("youden=", MEANT)),
        ("x", NO_RULE.format("x", "")),
        ("x9", NO_RULE.format("x9", "")),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        parse_rule(text)


def test_val_of_one_class_chooses_nothing():
    for rule in ("youden", "sensitivity=0.9"):
        with pytest.raises(DataError) as caught:
            choose_threshold(parse_rule(rule), np.ones(3, bool), np.arange(3.0), "run")
        assert str(caught.value) == (
            f"run: val has images of one class only, or none; --threshold {rule} is chosen on val, "
            "so give a number instead"
        )


def test_where_nothing_should_be_positive_no_probability_is_high_enough():
    """A specificity of 1 where the highest score is a negative's: the threshold is beyond 1, and finite."""
    is_positive, scores = np.array([False, True]), np.array([1.0, 0.5])
    found = choose_threshold(Rule("specificity", 1.0), is_positive, scores, "")
    assert found == np.nextafter(1.0, 2.0)
    assert decide(scores, found, 1).tolist() == [0, 0]
    assert decide(scores, found, 0).tolist() == [1, 1]
    assert choose_threshold(Rule("sensitivity", 0.0), is_positive, scores, "") == found


def test_aims_are_met_though_shares_are_not_exact_in_binary():
    """Three of ten are 0.3, and seven of ten left alone are 1 - 0.3, which is less than 0.7 in binary."""
    scores = np.arange(10, 0, -1) / 10
    is_positive = np.repeat([True, False], [10, 10])
    both = np.concatenate([scores, scores])
    for tenths in range(1, 10):
        found = choose_threshold(Rule("sensitivity", tenths / 10), is_positive, both, "")
        assert found == scores[tenths - 1]
        found = choose_threshold(Rule("specificity", tenths / 10), is_positive, both, "")
        assert found == scores[9 - tenths]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_and_is_the_best_one(classes, true_temperature):
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(20_000, classes))
    honest = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    stated = temper(honest, 1 / true_temperature)
    found = fit_temperature(labels, stated, "")
    assert found == pytest.approx(true_temperature, rel=0.05)
    best = scipy.optimize.minimize_scalar(
        lambda t: judge.log_loss(labels, temper(stated, t)), bounds=(0.1, 10), method="bounded"
    )
    assert found == pytest.approx(best.x, rel=1e-3)
    assert (temper(stated, found).argmax(axis=1) == stated.argmax(axis=1)).all()


def test_certainty_that_is_always_right_or_wrong_stays_within_bounds():
    labels = np.array([0, 1, 1])
    probabilities = np.eye(2)[labels]
    assert fit_temperature(labels, 0.8 * probabilities + 0.1, "") == pytest.approx(COLDEST)
    assert fit_temperature(1 - labels, probabilities, "") == pytest.approx(HOTTEST)
    assert np.isfinite(temper(probabilities, 0.05)).all()
    with pytest.raises(DataError, match="no probabilities of val"):
        fit_temperature(np.zeros(0, int), np.zeros((0, 2)), "run")


def test_no_temperature_changes_nothing():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    assert temper(probabilities, None) is probabilities
    np.testing.assert_allclose(temper(probabilities, 1.0), probabilities)


@pytest.mark.parametrize("scale", [1, 8, 15])
def test_a_temperature_of_saturated_scores_is_that_of_the_scores(scale):
    """Half of a sigmoid's scores beyond 17, where 1 - p is 0 in float32, as predictions.csv stores them."""
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 2, 400)
    labels = (rng.random(400) < 1 / (1 + np.exp(-scores))).astype(int)
    scores = (scores * scale).astype(np.float32)
    best = scipy.optimize.minimize_scalar(
        lambda t: np.logaddexp(0, scores * (1 - 2 * labels) / t).mean(), bounds=(0.1, 20), method="bounded"
    ).x
    both = np.stack([np.zeros(400, np.float32), scores], axis=1)
    for probabilities in (OUTPUTS["sigmoid"](scores[:, None]), OUTPUTS["softmax"](both)):
        stored = np.array([[float(f"{value:.9g}") for value in row] for row in probabilities.tolist()])
        found = fit_temperature(labels, stored, "")
        assert found == pytest.approx(best, rel=1e-3)
        tempered = temper(stored, found)[:, 1]
        np.testing.assert_allclose(tempered, 1 / (1 + np.exp(-scores / found)), rtol=1e-6)
