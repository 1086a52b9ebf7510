"""The plan by which a tree of classifiers is trained or composed: settings for each node."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree
from bccli.core.data.manifest import SPLITS
from bccli.core.data.node_subset import subset_of
from bccli.core.data.split_codes import check_split_codes, split_codes_of
from bccli.core.errors import UsageError
from bccli.core.files import to_toml
from bccli.core.runs.run_folder import Run, run_of_fold
from bccli.core.training.design import Design, resolve
from bccli.core.training.recipe import recipe_values

DETECTOR = "detector"
"""The folder of a tree's run that has its detector."""

LEARNED, CAM = "learned", "cam"
"""By what regions are found that no mask marks: a detector that learns from the masks of train, or the
class-activation maps of the nodes above."""


@dataclass(frozen=True)
class Second:
    """A second stage, as `finetune` has it: the backbone learns too, from a layer on (number or name)."""

    from_layer: str
    epochs: int
    lr: float
    train_batch_norm: bool = False


@dataclass(frozen=True)
class NodeSettings:
    """The settings by which a node is trained."""

    design: Design
    second: Second | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings by which two nodes are trained alike."""
        resolved, _, weights = resolve(self.design)
        settings = {**resolved.to_json(weights), "tune_epochs": None, "tune_lr": None}
        if self.second:
            settings |= {
                "from_layer": self.second.from_layer,
                "tune_epochs": self.second.epochs,
                "tune_lr": self.second.lr,
                "train_batch_norm": self.second.train_batch_norm,
            }
        return settings

    @property
    def extendable(self) -> bool:
        """Whether more epochs begin like fewer ones."""
        return self.second is None and self.design.schedule.extendable

    def of_fold(self, fold: int) -> "NodeSettings":
        """The same for one fold."""
        return replace(self, design=replace(self.design, fold=fold))

    def with_seed_from(self, offset: int) -> "NodeSettings":
        """The same with a seed that is so much larger."""
        schedule = self.design.schedule
        seeded = replace(schedule, seed=schedule.seed + offset)
        return replace(self, design=replace(self.design, schedule=seeded))


@dataclass(frozen=True)
class ReusedRun:
    """A run that is a node of another tree; its images are those of `data`, where that is not the tree's."""

    run: Run
    data: Dataset | None = None

    @property
    def identity(self) -> str:
        """A hash of the run's files and of its data."""
        known = [sorted(self.run.info.files.items()), self.data.hash if self.data else ""]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def of_fold(self, fold: int) -> "ReusedRun":
        """The run of one fold, where it is one of all folds. Raises DataError for a fold too many."""
        return ReusedRun(run_of_fold(self.run, fold), self.data)


@dataclass(frozen=True)
class Plan:
    """A tree to be trained: `node_settings` are those of all nodes without their `own`; `recipes` name what
    the own ones were made from; `reused_runs` stand for nodes that are not trained.

    Where no mask marks what nodes see, it is found by `detector`: cam takes the maps of nodes, learned a
    detector, which is trained with the tree unless it is a `reused_detector`.
    """

    tree: Tree
    node_settings: NodeSettings
    decide: str = "greedy"
    own: Mapping[str, NodeSettings] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    reused_runs: Mapping[str, ReusedRun] = field(default_factory=dict)
    detector: str = CAM
    reused_detector: ReusedRun | None = None

    @property
    def cropped(self) -> tuple[str, ...]:
        """The nodes that see regions."""
        reused = self.reused_runs.items()
        return tuple(name for name, one in reused if one.data and one.data.preparation.region)

    @property
    def trains_detector(self) -> bool:
        """Whether a detector is trained with the tree."""
        return self.detector == LEARNED and self.reused_detector is None

    @property
    def copied(self) -> tuple[ReusedRun, ...]:
        """All runs that are reused, for nodes and as a detector."""
        return (*self.reused_runs.values(), *((self.reused_detector,) if self.reused_detector else ()))

    def settings_of(self, name: str) -> NodeSettings:
        """How a node is trained."""
        return self.own.get(name, self.node_settings)

    @property
    def extendable(self) -> bool:
        """Whether more epochs begin like fewer ones, in all nodes."""
        return all(self.settings_of(node.name).extendable for node in self.tree.inner)

    def of_fold(self, fold: int) -> "Plan":
        """The plan of the tree of one fold."""
        return replace(
            self,
            node_settings=self.node_settings.of_fold(fold),
            own={name: own.of_fold(fold) for name, own in self.own.items()},
            reused_runs={name: reused.of_fold(fold) for name, reused in self.reused_runs.items()},
            reused_detector=self.reused_detector.of_fold(fold) if self.reused_detector else None,
        )

    def with_seeds_from(self, offset: int) -> "Plan":
        """The plan with seeds that are so much larger, those of nodes of their own, too."""
        return replace(
            self,
            node_settings=self.node_settings.with_seed_from(offset),
            own={name: own.with_seed_from(offset) for name, own in self.own.items()},
        )

    @property
    def trained(self) -> tuple[Tree, ...]:
        """The nodes that are trained."""
        return tuple(node for node in self.tree.inner if node.name not in self.reused_runs)

    def to_json(self) -> dict[str, Any]:
        """The settings by which two runs are the same."""
        common = self.node_settings.to_json()
        changes = {}
        for name, node_settings in self.own.items():
            settings = node_settings.to_json()
            changes[name] = {key: value for key, value in settings.items() if common.get(key) != value}
        return {
            "tree": str(self.tree),
            "decide": self.decide,
            **common,
            **{f"node {name}": json.dumps(changed, sort_keys=True) for name, changed in changes.items()},
            **{f"compose {name}": reused.identity for name, reused in self.reused_runs.items()},
            **({"detector": LEARNED} if self.detector == LEARNED else {}),
            **({"compose detector": self.reused_detector.identity} if self.reused_detector else {}),
        }


def to_recipe(plan: Plan, fold: int | str | None) -> str:
    """The [hierarchy] table that repeats the run; composed nodes are in the folders beside it, those of all
    folds where they were."""
    design, second = plan.node_settings.design, plan.node_settings.second
    resolved, _, weights = resolve(design)
    # What suits the head of a first stage is not for a second one, in which the backbone learns.
    resolved = replace(resolved, schedule=design.schedule, undecided=design.undecided)
    composed = {**plan.reused_runs, **({DETECTOR: plan.reused_detector} if plan.reused_detector else {})}
    values = {
        "tree": str(plan.tree),
        "decide": plan.decide,
        **recipe_values(resolved, weights, fold),
        "from-layer": second.from_layer if second else None,
        "tune-epochs": second.epochs if second else None,
        "tune-lr": second.lr if second else None,
        "train-batch-norm": second.train_batch_norm if second else None,
        "node": [f"{name}={recipe}" for name, recipe in plan.recipes.items()] or None,
        "compose": [
            f"{name}={reused.run.root.resolve() if fold == 'all' else name}"
            + (f"@{reused.data.root.resolve()}" if reused.data else "")
            for name, reused in composed.items()
        ]
        or None,
        "detector": plan.detector if plan.cropped else None,
    }
    return to_toml("hierarchy", values)


def preview(plan: Plan, dataset: Dataset, fold: int | None) -> list[dict[str, Any]]:
    """The table of a dry run: images and patients per node, split and child."""
    codes = split_codes_of(dataset, fold)
    rows = []
    for node in plan.tree.inner:
        subset, indices = subset_of(dataset, plan.tree, node)
        if node.name not in plan.reused_runs:
            check_split_codes(subset, codes[indices])
        rows += [
            {"node": node.name, "part": split, "label": child, **_counts(subset, codes[indices], code, child)}
            for code, split in enumerate(SPLITS)
            for child in node.names
        ]
    return rows


def _counts(subset: Dataset, codes: np.ndarray, wanted: int, label: str) -> dict[str, int | None]:
    """How many images of a label are in a split, and of how many patients."""
    here = [
        sample
        for sample, code in zip(subset.samples, codes, strict=True)
        if code == wanted and sample.label == label
    ]
    patients = {sample.patient for sample in here if sample.patient}
    return {"images": len(here), "patients": len(patients) or None}


def check_plan(plan: Plan) -> None:
    """Find the weights of all nodes before any data is read. Raises UsageError, WeightsError."""
    for node in plan.trained:
        node_settings = plan.settings_of(node.name)
        resolved, _, _ = resolve(node_settings.design)
        if resolved.locates:
            raise UsageError(
                "--head detector: finds lesions and tells no classes apart, which is what nodes do; "
                "choose another --head"
            )
        if node_settings.second and resolved.card:
            raise UsageError(
                f"--from-layer {node_settings.second.from_layer}: {resolved.backbone} is a card, and its "
                "network stays as it is; leave it out"
            )
        if node_settings.second and resolved.trainable != "none":
            raise UsageError(
                f"--from-layer {node_settings.second.from_layer}: is about a backbone that is frozen at "
                "first, and this one learns from the start; leave it out, or say --trainable none"
            )
