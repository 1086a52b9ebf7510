"""The numbers behind a report's figures: against scikit-learn, and where they are not defined."""

import numpy as np
import pytest

from bccli.core.evaluation.report.calibration import line
from bccli.core.evaluation.report.curves import thinned
from bccli.core.evaluation.report.feature_map import components


@pytest.mark.parametrize("stretch", [0.5, 1.0, 3.0])
def test_the_line_of_a_calibration_is_that_of_a_logistic_regression(stretch: float) -> None:
    from sklearn.linear_model import LogisticRegression

    source = np.random.default_rng(0)
    logits = source.normal(0.3, 1.5, 4000)
    true = source.random(4000) < 1 / (1 + np.exp(-logits))
    stated = 1 / (1 + np.exp(-stretch * logits))
    found = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(stretch * logits[:, None], true)
    intercept, slope = line(stated, true)
    assert slope == pytest.approx(found.coef_[0, 0], rel=1e-3)
    assert slope == pytest.approx(1 / stretch, rel=0.1)
    assert intercept is not None
    chances = 1 / (1 + np.exp(-(stretch * logits + intercept)))
    assert chances.mean() == pytest.approx(true.mean(), abs=1e-9)


def test_a_line_that_has_no_end_is_none() -> None:
    perfect = np.array([0.1, 0.2, 0.8, 0.9])
    assert line(perfect, perfect > 0.5)[1] is None
    assert line(perfect, np.ones(4, bool)) == (None, None)
    assert line(np.full(4, 0.5), perfect > 0.5)[1] is None
    assert line(np.array([0.0, 1.0, 1.0, 0.0]), np.array([True, False, True, False])) is not None


def test_components_are_those_of_a_principal_component_analysis() -> None:
    from sklearn.decomposition import PCA

    features = np.random.default_rng(0).normal(0, 1, (200, 30)) @ np.diag(np.linspace(5, 0.1, 30))
    points, explained = components(features)
    found = PCA(2).fit(features)
    assert explained == pytest.approx(tuple(found.explained_variance_ratio_))
    for axis, expected in enumerate(found.transform(features).T):
        assert abs(np.corrcoef(points[:, axis], expected)[0, 1]) == pytest.approx(1)
    assert points.min() == 0
    assert points.max() == 1


def test_components_of_equal_features_are_one_point() -> None:
    points, explained = components(np.ones((5, 4)))
    assert np.isfinite(points).all()
    assert explained == (0, 0)


def test_a_curve_keeps_its_corners_and_its_area() -> None:
    source = np.random.default_rng(0)
    positive = source.random(20_000) < 0.4
    scores = positive + source.normal(0, 1, len(positive))
    hits = positive[np.argsort(-scores)]
    tpr, fpr = np.cumsum(hits) / hits.sum(), np.cumsum(~hits) / (~hits).sum()
    points = np.array(thinned(np.append(0, fpr), np.append(0, tpr)))
    assert len(points) < 640
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(np.trapezoid(tpr, fpr), abs=3e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_curve_is_kept(count: int) -> None:
    assert len(thinned(np.linspace(0, 1, count), np.linspace(0, 1, count))) == count
