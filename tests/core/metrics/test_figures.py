"""Measures: the paper's golden figures, agreement with scikit-learn and Keras, and what is undefined."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn.metrics as judge
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import DataError, UsageError
from bccli.core.metrics.figures import Figures, figures_from_json, measure
from bccli.core.metrics.losses import EPSILON, LOSSES, Loss, mean_loss
from bccli.core.metrics.overfitting import beta, overfits, with_overfitting
from bccli.core.metrics.roc import roc_auc, roc_curve

BINARY = ["benign", "malignant"]
GRADES = ["I", "II", "III"]

CONTRACT_KEYS = (
    "name kind backbone dataset protocol split level n patients classes positive accuracy "
    "balanced_accuracy f1 roc_auc auc_paper tpr fpr tnr loss majority_accuracy train_accuracy "
    "val_accuracy beta beta_paper overfit overfit_paper patient_accuracy confusion_matrix per_class "
    "ci calibration leakage"
)


@st.composite
def splits(draw, class_counts=(2, 3, 4), every_class=True):
    """Labels (n,) and probabilities (n, K) with many ties: rows of small whole numbers, normalised."""
    class_count = draw(st.sampled_from(class_counts))
    label = st.integers(0, class_count - 1)
    labels = draw(st.lists(label, min_size=1, max_size=40))
    if every_class:
        labels = [*range(class_count), *labels]
    weights = st.lists(st.integers(0, 4), min_size=class_count, max_size=class_count).filter(any)
    rows = draw(st.lists(weights, min_size=len(labels), max_size=len(labels)))
    probabilities = np.asarray(rows, dtype=float)
    return np.asarray(labels), probabilities / probabilities.sum(axis=1, keepdims=True)


def names(count):
    return [f"class {number}" for number in range(count)]


def golden():
    labels = np.repeat([1, 0, 0, 1], [2547, 2348, 652, 453])
    predicted = np.repeat([1, 0, 1, 0], [2547, 2348, 652, 453])
    return measure(labels, None, BINARY, predicted=predicted)


def test_the_papers_confusion_matrix_gives_the_papers_figures():
    figures = golden()
    assert figures.confusion_matrix == [[2348, 652], [453, 2547]]
    assert round(figures.accuracy, 4) == 0.8158
    assert round(figures.f1, 4) == 0.8217
    assert round(figures.auc_paper, 4) == 0.8158
    assert round(figures.tpr, 4) == 0.849
    assert round(figures.fpr, 4) == 0.2173
    assert figures.auc_paper == pytest.approx(figures.balanced_accuracy)
    assert figures.positive == "malignant"
    assert figures.majority_accuracy == 0.5
    assert figures.roc_auc is figures.loss is figures.calibration is figures.patients is None


@given(splits())
def test_the_figures_are_scikit_learns(split):
    labels, probabilities = split
    class_count = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    average = "binary" if class_count == 2 else "macro"
    scores = probabilities[:, 1] if class_count == 2 else probabilities

    figures = measure(labels, probabilities, names(class_count))

    assert figures.confusion_matrix == judge.confusion_matrix(labels, predicted).tolist()
    assert figures.accuracy == pytest.approx(judge.accuracy_score(labels, predicted))
    assert figures.balanced_accuracy == pytest.approx(judge.balanced_accuracy_score(labels, predicted))
    assert figures.f1 == pytest.approx(judge.f1_score(labels, predicted, average=average))
    assert figures.roc_auc == pytest.approx(judge.roc_auc_score(labels, scores, multi_class="ovr"))
    assert figures.calibration["brier"] == pytest.approx(
        sum(judge.brier_score_loss(labels == k, probabilities[:, k]) for k in range(class_count))
    )


@given(splits(every_class=False))
def test_means_over_classes_treat_missing_classes_as_scikit_learn_does(split):
    labels, probabilities = split
    predicted = probabilities.argmax(axis=1)
    figures = measure(labels, probabilities, names(probabilities.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = judge.balanced_accuracy_score(labels, predicted)
    assert figures.balanced_accuracy == pytest.approx(expected)
    if probabilities.shape[1] > 2:
        assert figures.f1 == pytest.approx(judge.f1_score(labels, predicted, average="macro"))


@given(splits())
def test_each_class_against_the_rest_is_scikit_learns(split):
    labels, probabilities = split
    class_count = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    precision, sensitivity, f1, count = judge.precision_recall_fscore_support(
        labels, predicted, labels=range(class_count), zero_division=np.nan
    )
    figures = measure(labels, probabilities, names(class_count))
    for number, row in enumerate(figures.per_class.values()):
        assert row["n"] == count[number]
        assert row["sensitivity"] == pytest.approx(sensitivity[number])
        assert row["precision"] == (None if np.isnan(precision[number]) else pytest.approx(precision[number]))
        assert row["f1"] == pytest.approx(f1[number])
        negatives = labels != number
        assert row["specificity"] == pytest.approx((predicted[negatives] != number).mean())
        assert row["roc_auc"] == pytest.approx(
            judge.roc_auc_score(labels == number, probabilities[:, number])
        )


@given(splits(class_counts=(2,)))
def test_the_roc_curve_is_scikit_learns_and_its_area_is_the_auc(split):
    labels, probabilities = split
    curve = roc_curve(labels == 1, probabilities[:, 1])
    expected = judge.roc_curve(labels, probabilities[:, 1], drop_intermediate=False)
    for ours, theirs in zip(curve, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    area = np.trapezoid(curve[1], curve[0])
    assert roc_auc(labels == 1, probabilities[:, 1]) == pytest.approx(area)


@given(splits())
def test_the_loss_of_a_softmax_is_scikit_learns_log_loss(split):
    labels, probabilities = split
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    expected = -np.log(clipped[np.arange(len(labels)), labels]).mean()
    assert measure(labels, probabilities, names(probabilities.shape[1])).loss == pytest.approx(expected)
    inner = 0.9 * probabilities + 0.1 / probabilities.shape[1]
    assert mean_loss(labels, inner, "categorical_crossentropy") == pytest.approx(
        judge.log_loss(labels, inner)
    )


def test_losses_by_hand():
    labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.4, 0.6]])
    entropy = -(np.log(0.8) + np.log(0.6)) / 2
    assert mean_loss(labels, probabilities, "categorical_crossentropy") == pytest.approx(entropy)
    assert mean_loss(labels, probabilities, "binary_crossentropy") == pytest.approx(entropy)
    assert mean_loss(labels, probabilities, "mse") == pytest.approx((0.04 + 0.16) / 2)


def test_losses_are_clipped_where_keras_clips_them():
    labels, certain_and_wrong = np.array([0]), np.array([[0.0, 1.0]])
    for name in ("categorical_crossentropy", "binary_crossentropy"):
        assert mean_loss(labels, certain_and_wrong, name) == pytest.approx(-np.log(1e-7))


def test_crossentropy_normalises_the_rows_of_a_sigmoid_as_keras_does():
    sigmoids = np.array([[0.9, 0.9, 0.0], [0.0, 0.0, 0.0]])
    losses = LOSSES["categorical_crossentropy"](np.eye(3)[[0, 0]], sigmoids)
    np.testing.assert_allclose(losses, [-np.log(0.5), -np.log(1e-7)])


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_keras_losses(name):
    import keras

    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(0, 3, 50), rng.random((50, 3))
    outputs[0] = [0, 0, 1]
    keras_name = {"focal": "categorical_focal_crossentropy"}.get(name, name)
    keras_mean = float(keras.losses.get(keras_name)(np.eye(3)[labels], outputs).numpy().mean())
    assert mean_loss(labels, outputs, name) == pytest.approx(keras_mean, rel=1e-5)


def test_patient_accuracy_is_the_mean_over_patients():
    labels = np.zeros(6, dtype=int)
    predicted = [0, 0, 1, 1, 1, 0]
    figures = measure(labels, None, BINARY, predicted=predicted, patients=["a", "a", "a", "a", "b", "c"])
    assert figures.patient_accuracy == pytest.approx((2 / 4 + 0 + 1) / 3)
    assert figures.accuracy == 0.5
    assert figures.patients == 3


def test_images_of_unknown_patients_are_each_their_own():
    figures = measure([0, 0, 0, 0], None, BINARY, predicted=[0, 1, 1, 0], patients=["a", "a", "", ""])
    assert figures.patient_accuracy == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert figures.patients == 1


@pytest.mark.parametrize("patients", [None, ["", ""]])
def test_without_known_patients_there_is_no_patient_accuracy(patients):
    figures = measure([0, 1], None, BINARY, predicted=[0, 1], patients=patients)
    assert figures.patient_accuracy is None
    assert figures.patients is None


def test_the_positive_class_can_be_chosen():
    labels, probabilities = [0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]
    figures = measure(labels, probabilities, BINARY, positive="benign")
    assert figures.positive == "benign"
    assert figures.tpr == pytest.approx(2 / 3)
    assert figures.fpr == 0
    assert figures.f1 == figures.per_class["benign"]["f1"]


def test_more_than_two_classes_have_no_positive_one():
    figures = measure([0, 1, 2], np.eye(3), GRADES, positive="II")
    assert figures.positive is figures.tpr is figures.fpr is figures.tnr is figures.auc_paper is None
    assert figures.f1 == figures.roc_auc == 1


def test_more_than_two_classes_without_probabilities_have_no_areas():
    figures = measure([0, 1, 2], None, GRADES, predicted=[0, 1, 1])
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert figures.roc_auc is figures.pr_auc is None


def test_equally_probable_classes_give_the_first():
    figures = measure([0, 1, 2], np.full((3, 3), 1 / 3), GRADES)
    assert figures.confusion_matrix == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert figures.per_class["II"]["precision"] is None
    assert figures.per_class["II"]["f1"] == 0


def test_predictions_may_differ_from_the_most_probable_class():
    figures = measure([0, 1], [[0.8, 0.2], [0.7, 0.3]], BINARY, predicted=[0, 1])
    assert figures.accuracy == 1
    assert figures.calibration["ece"] == pytest.approx((0.2 + 0.7) / 2)


@pytest.mark.parametrize("only", [0, 1])
def test_a_split_of_one_class_leaves_undefined_figures_empty(only):
    figures = measure([only] * 3, [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], BINARY)
    assert figures.roc_auc is figures.auc_paper is None
    assert [figures.tpr, figures.tnr][only] is None
    assert [figures.tnr, figures.tpr][only] is not None
    assert figures.majority_accuracy == 1


def test_a_missing_class_leaves_the_macro_auc_undefined():
    figures = measure([0, 0, 1], [[0.8, 0.2, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]], GRADES)
    assert figures.roc_auc is None
    assert figures.per_class["I"]["roc_auc"] == 1
    assert figures.per_class["III"] == {
        "n": 0,
        "sensitivity": None,
        "specificity": 1.0,
        "precision": None,
        "f1": None,
        "roc_auc": None,
        "pr_auc": None,
    }


@pytest.mark.parametrize("classes", [BINARY, GRADES])
def test_an_empty_split_has_counts_and_nothing_else(classes):
    figures = measure([], [], classes)
    assert figures.n == 0
    assert figures.confusion_matrix == np.zeros((len(classes), len(classes))).tolist()
    assert figures.accuracy is figures.f1 is figures.roc_auc is figures.loss is None
    assert figures.calibration == {"ece": None, "brier": None}


def test_calibration_by_hand():
    probabilities = [[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.45, 0.55]]
    result = measure([0, 1, 1, 1], probabilities, BINARY).calibration
    assert result["ece"] == pytest.approx((abs(0.5 - 0.95) + abs(1 - 0.55)) / 2)
    squares = [0.05**2, 0.95**2, 0.45**2, 0.45**2]
    assert result["brier"] == pytest.approx(2 * np.mean(squares))


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    on_the_edge, above = 9 / 15, 9.5 / 15
    probabilities = np.array([[on_the_edge, 1 - on_the_edge], [above, 1 - above]])
    result = measure([0, 1], probabilities, BINARY, predicted=[0, 0]).calibration
    assert result["ece"] == pytest.approx(((1 - on_the_edge) + above) / 2)


def test_beta_and_overfitting():
    assert beta(1.0, 0.86) == pytest.approx(1.163, abs=1e-3)
    assert beta(0.9, 0.0) is beta(0.9, None) is beta(None, 0.9) is None
    assert overfits(0.96, 0.85) is True
    assert overfits(0.8, 0.9) is False
    assert overfits(None, 0.9) is overfits(0.9, None) is None


@pytest.mark.parametrize("tenths", range(10))
def test_exactly_ten_points_are_no_overfitting(tenths):
    assert overfits((tenths + 1) / 10, tenths / 10) is False


def test_overfitting_is_measured_against_val_and_as_in_the_paper_against_test():
    figures = with_overfitting(golden(), 1.0, 0.95, 0.8)
    assert figures.train_accuracy == 1
    assert figures.val_accuracy == 0.95
    assert figures.beta == pytest.approx(1 / 0.95)
    assert figures.beta_paper == 1.25
    assert figures.overfit is False
    assert figures.overfit_paper is True
    unknown = with_overfitting(golden(), None, 0.95, None)
    assert unknown.val_accuracy == 0.95
    assert unknown.beta is unknown.beta_paper is unknown.overfit is unknown.overfit_paper is None


def test_json_has_the_contracts_keys_in_order_and_only_plain_values():
    figures = measure([0, 1, 1], [[0.7, 0.3], [0.2, 0.8], [0.1, 0.9]], BINARY, patients=["a", "b", "b"])
    content = figures.to_json()
    assert " ".join(content).startswith(CONTRACT_KEYS)
    assert " ".join(content["per_class"]["benign"]).startswith(
        "n sensitivity specificity precision f1 roc_auc"
    )
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert Figures(**content) == figures


def test_json_has_no_numpy_and_no_nan():
    figures = Figures(
        loss=float("nan"),
        accuracy=np.float32(0.5),
        n=np.int64(3),
        confusion_matrix=np.eye(2, dtype=int),
        ci={"accuracy": (np.float64(0.1), float("inf"))},
    )
    content = figures.to_json()
    assert content["loss"] is None
    assert content["confusion_matrix"] == [[1, 0], [0, 1]]
    assert content["ci"] == {"accuracy": [0.1, None]}
    assert json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("labels", "probabilities", "options", "complaint"),
    [
        ([0, 2], np.eye(2), {}, "labels: 2 at position 1 is no class; use 0 to 1, one per class"),
        ([-1, 0], np.eye(2), {}, "labels: -1 at position 0 is no class; use 0 to 1, one per class"),
        ([0.0, 1.0], np.eye(2), {}, "labels: float64 of shape (2,); give one class number per image"),
        ([[0], [1]], np.eye(2), {}, "labels: int64 of shape (2, 1); give one class number per image"),
        (
            [0, 1],
            np.eye(3),
            {},
            "probabilities: shape (3, 3); give one row for each of 2 images "
            "and one column for each of 2 classes",
        ),
        (
            [0, 1],
            [[0.5, 0.5], [np.nan, 1]],
            {},
            "probabilities: the row at position 1 is not finite; predict that image again",
        ),
        ([0, 1], None, {}, "predictions: neither classes nor probabilities; give one of them"),
        ([0, 1], None, {"predicted": [0]}, "predictions: 1 for 2 labels; give one per image"),
        (
            [0, 1],
            np.eye(2),
            {"predicted": [0, 2]},
            "predicted: 2 at position 1 is no class; use 0 to 1, one per class",
        ),
        (
            [0, 1],
            np.eye(2),
            {"patients": ["a"]},
            "patients: 1 for 2 images; give one per image, empty where unknown",
        ),
    ],
)
def test_inputs_that_do_not_fit_together_are_data_errors(labels, probabilities, options, complaint):
    with pytest.raises(DataError, match=f"^{re.escape(complaint)}$"):
        measure(labels, probabilities, BINARY, **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"positive": "cancer"},
            "positive class 'cancer' is unknown; choose one of benign, malignant",
        ),
        (
            {"loss": Loss("hinge")},
            "loss 'hinge' is unknown; "
            "choose one of categorical_crossentropy, binary_crossentropy, mse, focal",
        ),
    ],
)
def test_unknown_names_are_usage_errors_that_list_the_known_ones(options, complaint):
    with pytest.raises(UsageError, match=f"^{re.escape(complaint)}$"):
        measure([0, 1], np.eye(2), BINARY, **options)


REASONS = {
    "no image": (([0, 0, 1], [[0.8, 0.2, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]], GRADES), {}),
    "no score": (([0, 1], None, BINARY), {"predicted": [0, 1]}),
    "one answer": (([0, 1], [[0.8, 0.2], [0.6, 0.4]], BINARY), {"patients": ["p", "q"]}),
    "no image at all": (([], None, BINARY), {"predicted": []}),
}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "no image",
            {
                "roc_auc": "there is no image of III",
                "patient_accuracy": "no patient is known",
                "pr_auc": "there is no image of III",
            },
        ),
        (
            "no score",
            {
                "roc_auc": "there are no probabilities",
                "loss": "there are no probabilities",
                "patient_accuracy": "no patient is known",
                "pr_auc": "there are no probabilities",
                "log_loss": "there are no probabilities",
            },
        ),
        ("one answer", {"mcc": "all images are predicted to be of one class"}),
        (
            "no image at all",
            {
                **dict.fromkeys(
                    (
                        *("accuracy", "balanced_accuracy", "f1", "auc_paper", "tpr", "fpr", "tnr"),
                        *("majority_accuracy", "mcc", "kappa"),
                    ),
                    "there is no image of benign, malignant",
                ),
                **dict.fromkeys(("roc_auc", "loss", "pr_auc", "log_loss"), "there are no probabilities"),
                "patient_accuracy": "no patient is known",
            },
        ),
    ],
)
def test_what_is_not_defined_says_why(case, expected):
    arguments, options = REASONS[case]
    assert measure(*arguments, **options).reasons == expected


def test_labels_are_smoothed_as_keras_smooths_them():
    """A tenth of the truth goes to all of four classes: 0.925 is left, and 0.025 is everybody's."""
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1]])
    truth = np.array([0.925, 0.025, 0.025, 0.025])
    expected = {
        "categorical_crossentropy": -(truth * np.log(probabilities[0])).sum(),
        "binary_crossentropy": -(
            truth * np.log(probabilities[0]) + (1 - truth) * np.log(1 - probabilities[0])
        ).mean(),
        "mse": ((truth - probabilities[0]) ** 2).mean(),
        "focal": -0.25 * (truth * (1 - probabilities[0]) ** 2 * np.log(probabilities[0])).sum(),
    }
    assert set(expected) == set(LOSSES)
    for name, value in expected.items():
        found = mean_loss(np.array([0]), probabilities, name, label_smoothing=0.1)
        assert found == pytest.approx(value, rel=1e-12), name
        assert measure([0], probabilities, "abcd", loss=Loss(name, 0.1)).loss == pytest.approx(value)


def test_the_loss_of_no_images_is_none():
    assert mean_loss(np.zeros(0, int), np.zeros((0, 2)), "mse") is None


def test_json_of_figures_that_is_none_names_the_place():
    row = golden().to_json()
    assert figures_from_json({"runs": [row]}, "x") == [golden()]
    for value, place in (
        ({"runs": [row, {**row, "accuracy": "high"}]}, "runs[1].accuracy"),
        ({"runs": [{**row, "other": 1}]}, "runs[0].other"),
        ({"runs": 1}, "figures.runs"),
    ):
        with pytest.raises(DataError) as caught:
            figures_from_json(value, "x/metrics.json")
        assert str(caught.value) == (
            f"x/metrics.json: {place!r} is not what bccli writes there; copy the whole folder again"
        )


@pytest.mark.parametrize(
    ("patients", "unit"),
    [
        (None, "images, as patients are unknown"),
        (["", ""], "images, as patients are unknown"),
        (["p", "q"], "patients"),
        (["p", ""], "patients, and each image of an unknown one"),
    ],
)
def test_what_is_drawn_again_is_said(patients, unit):
    assert measure([0, 1], np.eye(2), BINARY, patients=patients).resampled == unit
    shown = unit.partition(",")[0].removesuffix("s")
    figures = measure([0, 1], np.eye(2), BINARY, patients=patients, rounds=10)
    assert figures.reasons["ci"] == f"only 2 {shown}s; intervals need 5"
    groups = measure([0, 1], np.eye(2), BINARY, patients=patients, rounds=10, resampled="groups of patients")
    assert groups.reasons["ci"] == "only 2 groups; intervals need 5"


def test_importing_metrics_loads_neither_scikit_learn_nor_matplotlib():
    program = (
        "import sys, bccli.core.metrics.figures; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"sklearn", "scipy", "matplotlib", "pandas", "keras"} & set(loaded.stdout.split())
