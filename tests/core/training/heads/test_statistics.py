"""Train's mean and deviation: of train only, chunk by chunk, and with no deviation that explodes."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.runs.feature_store import FeatureStore
from bccli.core.training.heads.statistics import statistics


def test_they_are_those_of_the_rows_that_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (1200, 5)).astype(np.float32)
    rows = rng.permutation(1200)[:1100]
    mean, deviation = statistics(values, rows)
    np.testing.assert_allclose(mean, values[rows].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, values[rows].std(axis=0), rtol=1e-5)
    assert mean.dtype == deviation.dtype == np.float32


def test_features_on_the_disk_have_the_same(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    hashes = [f"{number:064x}" for number in range(40)]
    store = FeatureStore(tmp_path, 3)
    store.add(hashes, values)
    rows = np.arange(5, 30)
    for found, expected in zip(statistics(store.rows(hashes), rows), statistics(values, rows), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("width", [1, 4])
def test_a_feature_that_never_changes_is_divided_by_something(width: int) -> None:
    values = np.full((6, width), 1e-7, np.float32)
    mean, deviation = statistics(values, np.arange(6))
    assert (deviation > 0).all()
    assert np.abs((values - mean) / deviation).max() < 1e-3
    zeros = np.zeros((6, width), np.float32)
    np.testing.assert_array_equal(statistics(zeros, np.arange(6))[1], np.ones(width))


def test_a_feature_that_is_silent_in_train_does_not_shout_elsewhere() -> None:
    values = np.random.default_rng(2).normal(size=(50, 20)).astype(np.float32)
    values[:, 0], values[:, 1] = 1e-6 * values[:, 0], 1000 + 1e-3 * values[:, 1]
    mean, deviation = statistics(values, np.arange(50))
    assert deviation[0] == pytest.approx(0.01 * values.std(axis=0).mean(), rel=0.01)
    assert deviation[1] == pytest.approx(1.0, rel=1e-3)  # a thousandth of its mean
    assert abs(1.0 - mean[0]) / deviation[0] < 150
