"""How a head on frozen features begins: train's statistics in it, and the weight decay that suits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.data.sampling import spread
from bccli.core.models.inference_mode import standardise_by
from bccli.core.progress import Watcher
from bccli.core.training.heads.held_out import ENOUGH, FOLDS, choose_ridge, optimum
from bccli.core.training.heads.statistics import statistics
from bccli.core.vectors.contents import Rows
from bccli.core.weights.copying import put_weights


@dataclass(frozen=True)
class TrainRows:
    """Train among some features: its `rows` (n,), and of each its class number and who it belongs to, such as
    a patient. With `balanced` weights each class counts the same."""

    values: Rows
    rows: np.ndarray
    labels: np.ndarray
    owners: Sequence[str]
    balanced: bool = False

    @property
    def weights(self) -> np.ndarray:
        """The weight of each example (n,), 1 in the mean."""
        counts = np.bincount(self.labels)
        if not self.balanced:
            return np.ones(len(self.labels))
        return (len(self.labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[self.labels]


def standardise(head: Any, train: TrainRows) -> None:
    """Let a Keras head take the mean and deviation of train's features out of all."""
    standardise_by(head, *statistics(train.values, train.rows))


def fit_held_out(head: Any, train: TrainRows, *, seed: int, watcher: Watcher) -> dict[str, Any]:
    """Let a head of a single dense layer on standardised features begin where a logistic regression of them
    ends, whose ridge suits those of train who are left out best.

    Returns the `weight_decay` that has this optimum, and how it was found: what run.json has under `fitted`.
    """
    mean, deviation = statistics(train.values, train.rows)
    units = int(head.output_shape[-1])
    some = spread(np.arange(len(train.rows)), ENOUGH * FOLDS // (FOLDS - 1))
    features = (train.values[train.rows[some]] - mean) / deviation
    ridge = choose_ridge(
        features,
        train.labels[some],
        groups=[train.owners[index] for index in some.tolist()],
        weights=train.weights[some],
        seed=seed,
    )
    c = ridge.of(len(some), len(train.rows))
    start = optimum(features, train.labels[some], train.weights[some], c, units)
    if start is not None:
        put_weights(head.get_layer("scores"), list(start))
    decay = ridge.decay(len(train.rows), units)
    watcher.note(f"weight decay {decay:.2g}{_WHY.get(ridge.folds, '')}")
    return {"weight_decay": decay, **ridge.to_json()}


_WHY = {
    "groups": ", which suits patients of train who are left out best",
    "images": ", which suits images of train that are left out best",
}
