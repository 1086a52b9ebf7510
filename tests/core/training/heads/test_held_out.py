"""The ridge that suits patients who are left out, and a head that is trained with it."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.data.sampling import spread
from bccli.core.models.heads import OUTPUTS, Head, build_head
from bccli.core.progress import SILENT
from bccli.core.training.design import Design, resolve
from bccli.core.training.heads.beginning import TrainRows, fit_held_out, standardise
from bccli.core.training.heads.held_out import (
    RIDGES,
    Ridge,
    are_whole,
    choose_ridge,
    folds_of,
    optimum,
)
from bccli.core.training.inputs import Features
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.settings import Schedule

WIDTH, CLASSES = 12, 3
OPEN = frozenset({"lr", "schedule", "decay", "decay_epochs", "monitor", "steps_per_epoch", "weight_decay"})


def made_up(classes: int, patients: int = 12, each: int = 8) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features on scales of their own, class by class, with what is each patient's and says nothing."""
    rng = np.random.default_rng(5)
    owners = np.repeat(np.arange(patients), each)
    labels = owners % classes
    signal = np.eye(classes)[labels] @ rng.normal(0, 0.6, (classes, WIDTH))
    values = signal + rng.normal(0, 1, (patients, WIDTH))[owners] + rng.normal(size=(len(labels), WIDTH))
    scales = np.geomspace(0.5, 20, WIDTH)
    return (values * scales + scales).astype(np.float32), labels, [f"p{owner}" for owner in owners]


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def losses_left_out(values: np.ndarray, labels: np.ndarray, owners: list[str]) -> list[float]:
    """The cross-entropy of those left out for each ridge, by scikit-learn's own means."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    found = []
    for setting in RIDGES:
        total = 0.0
        for fit, held_out in folds_of(labels, owners, 0):
            model = LogisticRegression(max_iter=5000, **setting).fit(values[fit], labels[fit])
            chances = model.predict_proba(values[held_out])
            total += log_loss(labels[held_out], chances, normalize=False, labels=np.unique(labels))
        found.append(total)
    return found


def test_it_is_the_one_with_the_smallest_loss_of_patients_left_out() -> None:
    values, labels, owners = made_up(CLASSES)
    ridge = choose_ridge(standard(values), labels, groups=owners, weights=np.ones(len(labels)))
    losses = losses_left_out(standard(values), labels, owners)
    assert ridge == Ridge(RIDGES[int(np.argmin(losses))]["C"], "groups")
    # Images of the same patients, who are known by heart, let more be learned.
    of_images = choose_ridge(
        standard(values), labels, groups=[""] * len(labels), weights=np.ones(len(labels))
    )
    assert of_images.c > ridge.c


def test_too_few_examples_to_leave_any_out_are_held_back_in_between() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    ridge = choose_ridge(values, np.array([0, 0, 0, 1]), groups=[""] * 4, weights=np.ones(4))
    assert ridge == Ridge(1e-2, "")
    assert ridge.to_json() == {"C": 1e-2}


def test_patients_are_whole_unless_that_leaves_no_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    several, few = ["a", "a", "b", "c", "d", "d"], ["a"] * 3 + ["b"] * 3
    assert are_whole(folds_of(labels, several, 0), several)
    assert not are_whole(folds_of(labels, few, 0), few)


def test_some_are_drawn_from_all_over() -> None:
    assert spread(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert spread(np.arange(3), 4).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("output", "classes", "balanced"),
    [("softmax", 3, False), ("softmax", 2, True), ("sigmoid", 2, False), ("softmax", 3, True)],
)
def test_a_head_that_is_trained_is_scikit_learns_logistic_regression(
    tmp_path: Path, output: str, classes: int, balanced: bool
) -> None:
    """By the defaults for a frozen backbone, with the ridge that was chosen."""
    from sklearn.linear_model import LogisticRegression

    values, labels, owners = made_up(classes)
    train = TrainRows(values, np.arange(len(labels)), labels, owners, balanced)
    loss = "categorical_crossentropy" if output == "softmax" else "binary_crossentropy"
    weights = "balanced" if balanced else "none"
    design, _, _ = resolve(
        Design(
            "cnn-15", "none", "none", Head(output=output, standardised=None), undecided=OPEN,
            schedule=Schedule(output=output, loss=loss, class_weights=weights, steps_per_epoch=80),
        )
    )  # fmt: skip
    head = build_head(design.head, WIDTH, classes)
    standardise(head, train)
    fitted = fit_held_out(head, train, seed=0, watcher=SILENT)
    fields = {**vars(design.schedule), "weight_decay": fitted["weight_decay"]}
    examples = Examples(Features(values), labels, classes, train.rows, np.zeros(0, int))
    fit = Fit(head, examples, Schedule(**fields), tmp_path / "state.npz")
    assert fit.run().kept_epoch == 50
    model = LogisticRegression(C=fitted["C"], max_iter=5000)
    model.fit(standard(values), labels, sample_weight=train.weights)
    found = np.asarray(OUTPUTS[output](head(values, training=False)))
    np.testing.assert_allclose(found, model.predict_proba(standard(values)), atol=0.02)
    assert (found.argmax(axis=1) == model.predict(standard(values))).mean() > 0.98


@pytest.mark.parametrize(("output", "classes"), [("softmax", 2), ("sigmoid", 2), ("softmax", 3)])
def test_a_head_begins_where_logistic_regression_ends(output: str, classes: int) -> None:
    """Features that share a factor take longer to learn from than an epoch's rate lasts."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    labels = np.arange(240) % classes
    shared = rng.normal(0, 3, (240, 1)) + np.eye(classes)[labels] @ rng.normal(0, 0.15, (classes, WIDTH))
    values = (shared + rng.normal(0, 0.1, (240, WIDTH))).astype(np.float32)
    train = TrainRows(values, np.arange(240), labels, [f"p{number // 4}" for number in range(240)])
    head = build_head(Head(output=output, standardised=True), WIDTH, classes)
    standardise(head, train)
    fitted = fit_held_out(head, train, seed=0, watcher=SILENT)
    model = LogisticRegression(C=fitted["C"], max_iter=5000).fit(standard(values), labels)
    found = np.asarray(OUTPUTS[output](head(values, training=False)))
    np.testing.assert_allclose(found, model.predict_proba(standard(values)), atol=5e-3)


def test_a_class_that_few_examples_lack_is_begun_from_nothing() -> None:
    assert optimum(np.zeros((4, 2)), np.array([0, 0, 1, 1]), np.ones(4), 1.0, 3) is None
