"""The contents of the run of a tree once its nodes are trained: predictions, figures, joint models."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.data.audit import hashes_of
from bccli.core.data.manifest import SPLITS, metadata_of
from bccli.core.data.split_codes import TEST, TRAIN, VAL
from bccli.core.evaluation.tree_decisions import DECISIONS, columns_of, leaf_probabilities, to_columns
from bccli.core.files import write_text
from bccli.core.metrics.overfitting import accuracies
from bccli.core.prediction.region_finder import FOLDER
from bccli.core.prediction.run_predictor import Prediction
from bccli.core.runs.predictions import write_predictions
from bccli.core.runs.run_folder import PREDICTIONS_FILE, RECIPE_FILE, Run, complete_run
from bccli.core.runs.run_info import TrainingData
from bccli.core.runs.training_images import from_elsewhere, training_images_in, write_training_images
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import write_results
from bccli.core.trees.learned_crops import locate_by
from bccli.core.trees.node_predictions import Networks, answers_of_node
from bccli.core.trees.plan import Plan, to_recipe
from bccli.core.trees.predictor import JOINT
from bccli.core.trees.shared_backbone import export_tflite_of_nodes, join
from bccli.core.trees.train_region_finder import Films, Locators, make_locators
from bccli.core.trees.tree_data import TreeData


def complete_tree(
    plan: Plan,
    tree_data: TreeData,
    run: Run,
    nodes: Mapping[str, Run],
    detector: Run | None,
    networks: Networks,
    context: RunContext,
) -> Run:
    """Fill and complete the run of a tree, whose nodes have runs and some of these `networks` at hand.

    A `detector` finds the regions of nodes, if there is one.
    """
    prediction = _predict(plan, tree_data, nodes, networks, context)
    models, located = _write_models(plan, tree_data, run, nodes, detector, networks, context)
    columns = {**prediction.columns, **located.columns}
    _write_predictions(run, tree_data, replace(prediction, columns=columns))
    _write_training_images(run, tree_data, [reused.run for reused in plan.copied])
    write_text(run.root / RECIPE_FILE, to_recipe(plan, plan.node_settings.design.fold))
    dataset, samples = tree_data.dataset, tree_data.samples
    labels = np.array([dataset.classes.index(sample.label) for sample in samples])
    correct = prediction.labels == labels
    facts = {
        **_facts(plan, tree_data, run, nodes),
        "recipe": context.recipe or None,
        **models,
        **accuracies(correct, samples, tree_data.used_codes, dataset.info.protocol),
    }
    write_results(run.with_facts(**facts))
    return complete_run(run, facts)


def _predict(
    plan: Plan, tree_data: TreeData, nodes: Mapping[str, Run], networks: Networks, context: RunContext
) -> Prediction:
    """The predictions of the tree for all images that are in a split, from the answers of all nodes."""
    tree, classes = plan.tree, tree_data.dataset.classes
    answers = {
        node.name: answers_of_node(
            node, plan.reused_runs.get(node.name), nodes[node.name], tree_data, networks, context
        )
        for node in tree.inner
    }
    return Prediction(
        leaf_probabilities(tree, answers, classes),
        DECISIONS[plan.decide](tree, answers, classes),
        to_columns(tree, answers),
    )


def _write_models(
    plan: Plan,
    tree_data: TreeData,
    run: Run,
    nodes: Mapping[str, Run],
    detector: Run | None,
    networks: Networks,
    context: RunContext,
) -> tuple[dict[str, Any], Locators]:
    """Write what nodes share, the .tflite of each, and locators; returns what run.json says of them."""
    images, preparation, watcher = tree_data.images, tree_data.dataset.preparation, context.watcher
    joint = join(run.root, nodes, preparation, images, networks, watcher)
    export_tflite_of_nodes(run.root, nodes, joint, images, networks, watcher)
    films = Films(images, preparation, tree_data.used_codes == TRAIN)
    if detector:
        leaves = {node.name: node.leaves for node in plan.tree.inner}
        located = locate_by(detector, plan.cropped, leaves, nodes, films, context)
    else:
        located = make_locators(run.root, plan.tree, plan.cropped, nodes, films, networks, watcher)
    exports = {**({JOINT: joint.export} if joint.export else {}), **located.exports}
    return {JOINT: list(joint.nodes), FOLDER: located.facts, "exports": exports}, located


def _write_predictions(run: Run, tree_data: TreeData, prediction: Prediction) -> None:
    """predictions.csv, val first and then test."""
    samples, codes = tree_data.samples, tree_data.used_codes
    shown = np.concatenate([np.flatnonzero(codes == VAL), np.flatnonzero(codes == TEST)])
    write_predictions(
        run.root / PREDICTIONS_FILE,
        [(samples[index], SPLITS[codes[index]]) for index in shown],
        prediction.probabilities[shown],
        tree_data.dataset.classes,
        chosen=prediction.labels[shown],
        columns={name: values[shown] for name, values in prediction.columns.items()},
        metadata=metadata_of(samples),
    )


def _write_training_images(run: Run, tree_data: TreeData, reused: Sequence[Run]) -> None:
    """The tree's own images of train and val, and those of the runs that are reused."""
    hashes = hashes_of(tree_data.dataset, tree_data.cache)
    rows = training_images_in(tree_data.dataset.samples, tree_data.split_codes, hashes)
    others = from_elsewhere(reused, (row.sample for row in rows))
    write_training_images(run, [*rows, *others])


def _facts(plan: Plan, tree_data: TreeData, run: Run, nodes: Mapping[str, Run]) -> dict[str, Any]:
    """The facts of the data and the nodes that run.json holds beyond the settings."""
    dataset, info = tree_data.dataset, tree_data.dataset.info
    classes = list(dataset.classes)
    return {
        "tree": str(plan.tree),
        "decide": plan.decide,
        "columns": list(columns_of(plan.tree)),
        "parts": list(nodes),
        # what probabilities of leaves are measured by, whatever the nodes were trained on
        "loss": "categorical_crossentropy",
        "label_smoothing": 0.0,
        "backbone": ", ".join(dict.fromkeys(node.info.backbone for node in nodes.values())),
        "dataset": info.dataset,
        "protocol": info.protocol,
        "classes": classes,
        **dataset.positive_facts,
        "preparation": info.preparation,
        "data": TrainingData(
            dataset.hash, len(dataset.samples), os.path.relpath(dataset.root, run.root)
        ).to_json(),
        "leakage": {split: leak.to_json() for split, leak in tree_data.leaks.items()},
        "seed": plan.node_settings.design.schedule.seed,
        "size": list(tree_data.images.size),
        "parameters": sum(node.info.parameters or 0 for node in nodes.values()),
    }
