"""How classifiers are fitted: scikit-learn's, whose fitted state becomes the plain arrays of `models`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.classifiers.models import Classifier
from bccli.core.cores import available_cores
from bccli.core.data.sampling import spread
from bccli.core.errors import DataError
from bccli.core.training.heads.held_out import ENOUGH, RIDGES, Folds, are_whole, folds_of

_UNCALIBRATED = -1.0, 0.0
"""Slope and offset of the sigmoid where the fitted one would turn every answer round.

A patient who is left out of a few takes a share of his class with him, so that the decisions about him lean
to the other one. Where that outweighs what was learned, decisions become probabilities as they are.
"""


@dataclass(frozen=True)
class Examples:
    """Training examples: features float64 (n, width), labels (n,), weights (n,), and the seed of all chance.

    `folds` divide the examples into those to fit with and those to test on.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    folds: Folds
    seed: int


@dataclass(frozen=True)
class Method:
    """A kind of classifier: scikit-learn's estimator for a setting, and the arrays of what was fitted.

    Of several `choices` the one with the smallest cross-entropy of the examples left out is taken, fold by
    fold; a `calibrated` one is fitted with the help of the folds, and has one choice.
    """

    fit: Callable[[Examples, Mapping[str, Any]], Any]
    arrays: Callable[[Any], dict[str, np.ndarray]]
    choices: tuple[Mapping[str, Any], ...]
    standardised: bool = False
    calibrated: bool = False

    @property
    def needs_folds(self) -> bool:
        """Whether some of train has to be left out while it is fitted."""
        return self.calibrated or len(self.choices) > 1


def fit_classifier(
    kind: str,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    seed: int = 0,
    class_weights: str = "none",
    groups: Sequence[str] | None = None,
) -> Classifier:
    """Fit a row of `CLASSIFIERS` to features (n, width) float32 and labels (n,) from 0 to classes - 1.

    With `class_weights` balanced each class counts the same. `groups` (n,) are patients, "" where unknown:
    where folds are needed, each patient is in one of them if that leaves every class in each of the rest.
    Raises DataError where a class has too few examples.
    """
    fitted = fit_estimator(
        kind, features, labels, classes, seed=seed, class_weights=class_weights, groups=groups
    )
    return fitted.classifier


@dataclass(frozen=True)
class Fitted:
    """A classifier, and the scikit-learn estimator of it, which takes standardised features where it does."""

    classifier: Classifier
    estimator: Any


def fit_estimator(
    kind: str,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    seed: int = 0,
    class_weights: str = "none",
    groups: Sequence[str] | None = None,
) -> Fitted:
    """Like `fit_classifier`, with the estimator besides."""
    method, width = CLASSIFIERS[kind], features.shape[1]
    counts = np.bincount(labels, minlength=classes)
    if len(counts) > classes or not counts.all():
        raise DataError(f"a classifier of {classes} classes needs examples of each, and only of these")
    rows = np.asarray(features, np.float32).astype(np.float64)
    arrays: dict[str, np.ndarray] = {}
    if method.standardised:
        deviation = rows.std(axis=0)
        arrays = {"mean": rows.mean(axis=0), "scale": np.where(deviation > 0, deviation, 1.0)}
        rows = (rows - arrays["mean"]) / arrays["scale"]
    weights = (
        len(labels) / (classes * counts[labels]) if class_weights == "balanced" else np.ones(len(labels))
    )
    folds = folds_of(labels, groups, seed) if method.needs_folds else []
    examples = Examples(rows, labels, weights, folds, seed)
    setting = _choose(method, examples)
    estimator = method.fit(examples, setting)
    if method.needs_folds:
        setting = {**setting, "folds": "groups" if are_whole(folds, groups) else "images"}
    arrays |= method.arrays(estimator)
    if "support" in arrays:
        arrays["vectors"] = np.asarray(features, np.float32)[arrays.pop("support")]
    return Fitted(Classifier(kind, classes, width, arrays, setting), estimator)


def _choose(method: Method, examples: Examples) -> Mapping[str, Any]:
    """The setting with the smallest cross-entropy over all folds, the first of equal ones."""
    if len(method.choices) == 1:
        return method.choices[0]
    losses = [_loss(method, examples, setting) for setting in method.choices]
    return method.choices[int(np.argmin(losses))]


def _loss(method: Method, examples: Examples, setting: Mapping[str, Any]) -> float:
    total = 0.0
    for fit, held_out in examples.folds:
        chosen = spread(fit, ENOUGH)
        inside = Examples(
            examples.features[chosen], examples.labels[chosen], examples.weights[chosen], [], examples.seed
        )
        chances = method.fit(inside, setting).predict_proba(examples.features[held_out])
        right = chances[np.arange(len(held_out)), examples.labels[held_out]]
        total -= float(np.log(np.maximum(right, 1e-15)) @ examples.weights[held_out])
    return total


def _fit_svm(examples: Examples, setting: Mapping[str, Any]) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    calibrated = CalibratedClassifierCV(SVC(**setting), method="sigmoid", cv=examples.folds, ensemble=False)
    fitted = calibrated.fit(examples.features, examples.labels, sample_weight=examples.weights)
    for sigmoid in fitted.calibrated_classifiers_[0].calibrators:
        if sigmoid.a_ >= 0:
            sigmoid.a_, sigmoid.b_ = _UNCALIBRATED
    return fitted


def _svm_arrays(fitted: Any) -> dict[str, np.ndarray]:
    """The support vectors' weights in each pair of classes, and Platt's sigmoids.

    libsvm keeps for a vector of class i its weight against j in row j - 1 for j > i, else in row j.
    """
    (whole,) = fitted.calibrated_classifiers_
    svc = whole.estimator
    owners = np.repeat(np.arange(len(svc.classes_)), svc.n_support_)
    pairs = list(zip(*np.triu_indices(len(svc.classes_), 1), strict=True))
    weights = np.zeros((len(owners), len(pairs)))
    for column, (one, other) in enumerate(pairs):
        weights[owners == one, column] = svc.dual_coef_[other - 1, owners == one]
        weights[owners == other, column] = svc.dual_coef_[one, owners == other]
    return {
        "support": svc.support_,
        "weights": weights,
        "bias": np.asarray(svc.intercept_, np.float64),
        "gamma": np.array(svc._gamma, np.float64),
        "slopes": np.array([sigmoid.a_ for sigmoid in whole.calibrators], np.float64),
        "offsets": np.array([sigmoid.b_ for sigmoid in whole.calibrators], np.float64),
    }


def _fit_logistic(examples: Examples, setting: Mapping[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression(max_iter=5000, **setting)
    return estimator.fit(examples.features, examples.labels, sample_weight=examples.weights)


def _logistic_arrays(fitted: Any) -> dict[str, np.ndarray]:
    return {"weights": np.ascontiguousarray(fitted.coef_.T), "bias": fitted.intercept_}


def _fit_forest(examples: Examples, setting: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_jobs=available_cores(), random_state=examples.seed, **setting)
    return forest.fit(examples.features, examples.labels, sample_weight=examples.weights)


def _forest_arrays(fitted: Any) -> dict[str, np.ndarray]:
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    return _joined(
        [
            (tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value[:, 0])
            for tree in trees
        ]
    )


def _fit_boosting(examples: Examples, setting: Mapping[str, Any]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Its early stopping would set images aside, not patients.
    boosting = HistGradientBoostingClassifier(early_stopping=False, random_state=examples.seed, **setting)
    return boosting.fit(examples.features, examples.labels, sample_weight=examples.weights)


def _boosting_arrays(fitted: Any) -> dict[str, np.ndarray]:
    trees = []
    for predictor in (each for iteration in fitted._predictors for each in iteration):
        nodes, inner = predictor.nodes, predictor.nodes["is_leaf"] == 0
        left, right = (np.where(inner, nodes[side].astype(np.int64), -1) for side in ("left", "right"))
        trees.append((left, right, nodes["feature_idx"], nodes["num_threshold"], nodes["value"][:, None]))
    return {**_joined(trees), "start": np.array(fitted._baseline_prediction, np.float64).reshape(-1)}


def _joined(trees: Sequence[tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
    """Trees of left and right children (-1 in leaves), features, thresholds and values (nodes, …) as one."""
    roots = np.cumsum([0, *(len(tree[0]) for tree in trees[:-1])])
    nodes = [np.arange(len(tree[0])) for tree in trees]
    left, right = (
        np.concatenate(
            [
                root + np.where(tree[0] >= 0, tree[side], own)
                for root, tree, own in zip(roots, trees, nodes, strict=True)
            ]
        )
        for side in (0, 1)
    )
    features, thresholds, values = (np.concatenate([tree[field] for tree in trees]) for field in (2, 3, 4))
    return {
        "roots": roots.astype(np.int32),
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "features": np.maximum(features, 0).astype(np.int32),
        "thresholds": thresholds.astype(np.float64),
        "values": values.astype(np.float64),
    }


CLASSIFIERS = {
    "svm": Method(_fit_svm, _svm_arrays, ({"C": 1.0},), standardised=True, calibrated=True),
    "forest": Method(_fit_forest, _forest_arrays, ({"n_estimators": 300, "min_samples_leaf": 2},)),
    "logistic": Method(
        _fit_logistic,
        _logistic_arrays,
        RIDGES,
        standardised=True,
    ),
    "boosting": Method(_fit_boosting, _boosting_arrays, ({"max_iter": 100, "learning_rate": 0.1},)),
}
"""The kinds that `--classifier` names, besides the network and the bag of visual words."""
