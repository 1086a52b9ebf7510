"""The kinds of runs in a table: what makes each of them, and what answers for it."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """Functions as "module:function" inside `bccli.core`, imported once a run of the kind is made or asked.

    `predictor` loads what answers to raw images; `network` loads what makes class probabilities of prepared
    ones, where an ensemble of such runs is one of their networks. `folds` loads what answers for a run of all
    folds, where that of each fold is of this kind. `on_dataset` answers to a whole prepared dataset.
    `trainer` makes a run of a job; a kind without one is made by a command of its own. A run that `has_maps`
    is one network, which shows where it looks.
    """

    predictor: str
    network: str = ""
    folds: str = "prediction.run_predictor:load_mean_of_folds"
    on_dataset: str = "evaluation.external:answers_of_rows"
    trainer: str = ""
    has_maps: bool = False


_NETWORKS = "prediction.run_predictor:load_networks"

KINDS = {
    "network": Kind(
        _NETWORKS,
        folds=_NETWORKS,
        network="prediction.run_predictor:load_network",
        trainer="training.network:train_network",
        has_maps=True,
    ),
    "head": Kind(
        _NETWORKS,
        folds=_NETWORKS,
        network="models.cards.of_run:load_headed",
        trainer="training.frozen.train:train_head",
    ),
    "detector": Kind(
        "prediction.detectors.predictor:load_detector",
        folds="prediction.detectors.predictor:load_detector",
        on_dataset="evaluation.external:answers_of_films",
        trainer="training.detectors.train:train_detector",
    ),
    "classifier": Kind(
        _NETWORKS,
        folds=_NETWORKS,
        network="classifiers.predictor:load_classified",
        trainer="classifiers.train:classify",
    ),
    "folds": Kind("prediction.run_predictor:load_folds"),
    "fusion": Kind(
        "fusion.predictor:load_fusion",
        folds="fusion.predictor:load_folds_of_fusions",
        on_dataset="fusion.external:answers_of_images",
        trainer="fusion.train:fuse",
    ),
    "tree": Kind("trees.predictor:load_tree", folds="trees.predictor:load_folds_of_trees"),
}
"""Every kind that run.json may name."""


def imported(name: str) -> Any:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"bccli.core.{module}"), function)
