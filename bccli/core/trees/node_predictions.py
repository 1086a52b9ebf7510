"""The nodes' probabilities for the prepared images of a tree, from stored features of frozen backbones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import open_images
from bccli.core.data.label_tree import Tree
from bccli.core.data.manifest import Sample
from bccli.core.evaluation.external import answers_to
from bccli.core.models.dense.dense_head import load_head
from bccli.core.models.graph import extractor_and_head
from bccli.core.models.runtimes import OUTPUTS
from bccli.core.prediction.predictor import load_predictor
from bccli.core.runs.run_folder import HEAD_FILE, MODEL_FILE, Run
from bccli.core.runs.run_info import HEAD
from bccli.core.training.features import compute_features, frozen_key_of
from bccli.core.training.frozen.sources import vectors_of_run
from bccli.core.training.network import RunContext
from bccli.core.trees.plan import ReusedRun
from bccli.core.trees.tree_data import TreeData, matching_images, shares_in_train
from bccli.core.weights.keras_files import load_model

_STEP = 512


@dataclass(frozen=True)
class Networks:
    """The extractors and heads of runs: those `known` by the runs' folders, and those on the disk."""

    known: dict[Path, tuple[Any, Any]] = field(default_factory=dict)

    def of(self, run: Run) -> tuple[Any, Any]:
        """The Keras models of a network's run: from RGB 0–255 to features, and from these to scores."""
        if run.root not in self.known:
            self.known[run.root] = extractor_and_head(load_model(run.file(MODEL_FILE)))
        return self.known[run.root]


def answers_of_node(
    node: Tree,
    reused: ReusedRun | None,
    run: Run,
    tree_data: TreeData,
    networks: Networks,
    context: RunContext,
) -> np.ndarray:
    """A node's probabilities (used images, children); where it has no image of its own for one, the shares of
    its children in train."""
    ask = partial(answers_of_run, run, cache=tree_data.cache, networks=networks, context=context)
    order = [run.classes.index(name) for name in node.names]
    if reused is None or reused.data is None:
        return ask(tree_data.samples, tree_data.dataset.root)[:, order]
    found = matching_images(node, reused.data, tree_data)
    answers = np.tile(shares_in_train(node, tree_data), (len(found), 1))
    there = [number for number, sample in enumerate(found) if sample is not None]
    samples = [sample for sample in found if sample is not None]
    answers[there] = ask(samples, reused.data.root)[:, order]
    return answers


def answers_of_run(
    run: Run, samples: Sequence[Sample], root: Path, *, cache: Path, networks: Networks, context: RunContext
) -> np.ndarray:
    """Probabilities (n, classes) of prepared images below `root`, in the order of the run's classes.

    The features of a frozen backbone are stored in `cache`, its extractor and head in `networks`.
    """
    key, watcher = frozen_key_of(run), context.watcher
    if run.info.kind == HEAD and run.info.card:
        vectors = vectors_of_run(run, open_images(root, samples, watcher), cache, context.device, watcher)
        answer = load_head(run.file(HEAD_FILE))
        return np.concatenate([answer(vectors[step]) for step in _steps(len(samples))])
    if key is None:
        predictor = load_predictor(
            [run.root], device=context.device, tempered=False, verbose=context.verbose, watcher=watcher
        )
        watcher.note(f"{run.root} answers to {len(samples)} images: {predictor.device}")
        return answers_to(predictor, root, samples, workers=context.workers, watcher=watcher).probabilities
    context.start_tensorflow()
    extractor, head = networks.of(run)
    images = open_images(root, samples, watcher)
    features = compute_features(images, extractor, key, cache, watcher=watcher)
    activate = OUTPUTS[run.info.settings["output"]]
    return np.concatenate(
        [activate(head(features[step], training=False).numpy()) for step in _steps(len(samples))]
    )


def _steps(count: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + _STEP, count)) for start in range(0, count, _STEP)]
