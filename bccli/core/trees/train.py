"""From a label tree and a prepared dataset to a run of kind tree: a classifier for each node with children.

A node sees the images that truly belong under it, labelled with its children; what it makes of all others
is asked for the probabilities of the whole. Its run lies in `RUN/NODE` and is one like any other.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.catalog import find_backbone
from bccli.core.data.audit import audit, hashes_of, hashes_path, refuse_leakage, store_hashes
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.label_tree import Tree
from bccli.core.data.leakage import Leak, leak_sentences
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.data.node_subset import subset_of
from bccli.core.data.split_codes import TEST, TRAIN, VAL, check_split_codes, split_codes_of
from bccli.core.errors import DataError, LeakageError, UsageError
from bccli.core.evaluation.external import (
    TRAINING_IMAGES,
    audit_against,
    check_input_spec,
    training_images_of,
    write_training_images,
)
from bccli.core.evaluation.overfitting import accuracies
from bccli.core.evaluation.tree_decisions import DECISIONS, columns_of, leaf_probabilities, to_columns
from bccli.core.files import is_temporary, read_json, write_text
from bccli.core.kinds import KINDS
from bccli.core.models.backbones import check_size
from bccli.core.models.heads import units
from bccli.core.prediction.region_finder import FOLDER
from bccli.core.progress import Watcher
from bccli.core.runs.predictions import write_predictions
from bccli.core.runs.run_folder import Run, complete_run, load_run, open_run
from bccli.core.training import finetune as finetuning
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import default_cache, resolve
from bccli.core.training.network import RunContext, train
from bccli.core.training.run_contents import write_results
from bccli.core.trees.node_predictions import Networks, Place, answers_of_run
from bccli.core.trees.plan import Plan, ReusedRun, to_recipe
from bccli.core.trees.predictor import JOINT
from bccli.core.trees.shared_backbone import export_tflite_of_nodes, join
from bccli.core.trees.train_region_finder import Films, make_locators

FROZEN = "frozen"
"""What the name of a node's first run ends on where a second one follows it."""


@dataclass(frozen=True)
class TreeData:
    """What a tree is grown on: the data, each image's part (0 train, 1 val, 2 test, -1 unused), the cache."""

    dataset: Dataset
    parts: np.ndarray
    leaks: dict[str, Leak]
    cache: Path

    @property
    def used(self) -> np.ndarray:
        """The positions of images that have a part."""
        return np.flatnonzero(self.parts >= 0)

    @property
    def samples(self) -> list[Sample]:
        """Those images."""
        return [self.dataset.samples[place] for place in self.used]


def train_tree(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run:
    """Train or compose a tree, or continue or recognise the run `root`.

    Raises what `network.train` raises.
    """
    watcher = context.watcher
    _refuse_own_parts(plan, root, overwrite=context.overwrite)
    tree_data = _prepare_tree_data(plan, dataset, cache or default_cache(dataset, root), watcher)
    settings = {**plan.to_json(), "data": dataset.hash}
    extendable = all(plan.settings_of(node.name).extendable for node in plan.tree.inner)
    with open_run(root, "tree", settings, overwrite=context.overwrite, extendable=extendable) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with context.log(root / "log.txt"):
            watcher.note(
                f"bccli {bccli.__version__} hierarchy {plan.tree}: {len(plan.trained)} nodes to train, "
                f"{dataset.root} → {root}"
            )
            _share_hashes(plan, tree_data)
            networks = Networks()
            inside, models = replace(context, overwrite=False, recipe=""), ModelCache(networks.known)
            nodes = {
                node.name: _make_node(node, plan, tree_data, root, inside, models) for node in plan.tree.inner
            }
            return _finish(plan, tree_data, run, nodes, networks, context)


def _refuse_own_parts(plan: Plan, root: Path, *, overwrite: bool) -> None:
    """Raises UsageError where a run is to be composed of one that lies in it, and is about to be replaced."""
    inside = [
        reused.run.root
        for reused in plan.reused_runs.values()
        if root.resolve() in reused.run.root.resolve().parents
    ]
    if inside and (overwrite or not Run(root, read_json(root / "run.json")).complete):
        raise UsageError(
            f"--compose {inside[0]}: lies in {root}, which is to be made anew; copy it elsewhere"
        )


def _prepare_tree_data(plan: Plan, dataset: Dataset, cache: Path, watcher: Watcher) -> TreeData:
    """What can be checked before anything is trained. Raises DataError, UsageError, LeakageError."""
    parts = split_codes_of(dataset, plan.node_settings.design.fold)
    if not (parts >= 0).any():
        raise DataError(f"{dataset.root}: no image is in train, val or test; prepare it with other --ratios")
    size = open_images(dataset.root, [dataset.samples[place] for place in np.flatnonzero(parts >= 0)]).size
    for node in plan.trained:
        view, places = subset_of(dataset, plan.tree, node)
        check_split_codes(view, parts[places])
        design = plan.settings_of(node.name).design
        units(design.head.output, len(node.children))
        check_size(find_backbone(design.backbone), size)
    leaks = audit(dataset, parts, cache)
    allowed = plan.node_settings.design.allow_leakage or dataset.allows_leakage
    refuse_leakage(leaks, dataset, allowed=allowed)
    for sentence in leak_sentences({part: leak.to_json() for part, leak in leaks.items()}):
        watcher.warn(sentence)
    tree_data = TreeData(dataset, parts, leaks, cache)
    for node in plan.tree.inner:
        if node.name in plan.reused_runs:
            _check_reused(node, plan.reused_runs[node.name], tree_data, allowed=allowed, watcher=watcher)
    return tree_data


def _check_reused(
    node: Tree, reused: ReusedRun, tree_data: TreeData, *, allowed: bool, watcher: Watcher
) -> None:
    run, dataset = reused.run, tree_data.dataset
    if set(run.classes) != set(node.names):
        raise DataError(
            f"{run.root}: has the classes {', '.join(run.classes)}, and the node {node.name} has "
            f"{', '.join(node.names)} below it; compose it of a run of these"
        )
    if run.info["kind"] not in KINDS:
        raise DataError(f"{run.root}: is a {run.info['kind']}, which cannot be a node; name another run")
    if run.info["kind"] == "fusion":
        raise DataError(
            f"{run.root}: answers for all patches of an image together, and a node for each of its images; "
            "compose it of another run"
        )
    check_input_spec(run, reused.data or dataset, watcher)
    if reused.data:
        matching_images(node, reused.data, tree_data)
    leak = audit_against(run, dataset, chosen=tree_data.parts == TEST)
    if leak.blocking:
        said = f"{run.root} was trained on what is test here: {leak_sentences({'test': leak.to_json()})[0]}"
        if not allowed:
            raise LeakageError(
                f"{dataset.root}: {said}; keep those patients out of test, or insist with --allow-leakage"
            )
        watcher.warn(said)


def matching_images(node: Tree, data: Dataset, tree_data: TreeData) -> list[Sample | None]:
    """For each used image the one of the same source in a node's own data, None where that has none.

    Raises DataError where an image under the node has none, or one of another label.
    """
    by_source: dict[str, Sample] = {}
    for sample in data.samples:
        if sample.variant == 0 and by_source.setdefault(sample.source, sample) is not sample:
            raise DataError(
                f"{data.root}: has several images of {sample.source}, and a node sees one; "
                "compose it of data without patches"
            )
    found = []
    for sample in tree_data.samples:
        other = by_source.get(sample.source) if sample.variant == 0 else None
        child = node.child_of(sample.label)
        if child is not None and sample.variant == 0:
            if other is None:
                raise DataError(
                    f"{data.root}: has no image of {sample.source}, which is {sample.label} in "
                    f"{tree_data.dataset.root}; prepare both from the same source"
                )
            if other.label not in (sample.label, child):
                raise DataError(
                    f"{data.root}: {sample.source} is {other.label} there and {sample.label} in "
                    f"{tree_data.dataset.root}; prepare both from the same source"
                )
        found.append(other)
    return found


def _share_hashes(plan: Plan, tree_data: TreeData) -> None:
    """Give each node's audit the perceptual hashes that the whole one has made."""
    looks = hashes_of(tree_data.dataset, tree_data.cache)
    for node in plan.trained:
        view, places = subset_of(tree_data.dataset, plan.tree, node)
        path = hashes_path(tree_data.cache, view.hash)
        if not path.exists():
            with suppress(PermissionError):
                store_hashes(path, looks["perceptual"][places], looks["blank"][places])


def _make_node(
    node: Tree, plan: Plan, tree_data: TreeData, root: Path, context: RunContext, models: ModelCache
) -> Run:
    place, watcher = root / node.name, context.watcher
    if node.name in plan.reused_runs:
        watcher.note(f"{node.name} ({', '.join(node.names)}): from {plan.reused_runs[node.name].run.root}")
        return _copy(plan.reused_runs[node.name].run, place)
    watcher.note(f"{node.name}: {', '.join(node.names)}")
    view, _ = subset_of(tree_data.dataset, plan.tree, node)
    node_settings = plan.settings_of(node.name)
    if node_settings.second is None:
        frozen = resolve(node_settings.design)[0].trainable == "none"
        inside = replace(context, export_tflite=not frozen)
        return train(node_settings.design, view, place, inside, cache=tree_data.cache, models=models)
    base = train(
        node_settings.design,
        view,
        root / f"{node.name}.{FROZEN}",
        context,
        cache=tree_data.cache,
        models=models,
    )
    (layer,) = finetuning.find_layers(
        base,
        layers=(node_settings.second.from_layer,),
        blocks=None,
        whole=False,
        device=context.device,
        verbose=context.verbose,
    )
    schedule = replace(
        node_settings.design.schedule, epochs=node_settings.second.epochs, lr=node_settings.second.lr
    )
    design = finetuning.design_of(
        base,
        replace(node_settings.design, schedule=schedule),
        layer,
        head=None,
        train_batch_norm=node_settings.second.train_batch_norm,
    )
    return train(design, view, place, context, cache=tree_data.cache, models=models)


def _copy(run: Run, place: Path) -> Run:
    """The run in another folder, whole or not at all; what is there of an earlier start is replaced."""

    def unwanted(folder: str, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in (".lock", ".cache") or is_temporary(Path(folder, name))]

    temporary = place.with_name(f".{place.name}.copy")
    for folder in (temporary, place):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run.root, temporary, ignore=unwanted)
    os.replace(temporary, place)
    return load_run(place)


def _finish(
    plan: Plan,
    tree_data: TreeData,
    run: Run,
    nodes: Mapping[str, Run],
    networks: Networks,
    context: RunContext,
) -> Run:
    """The answers of all nodes to all images, and what a run folder holds of them."""
    tree, classes, used = plan.tree, tree_data.dataset.classes, tree_data.used
    answers = {
        node.name: _answers_of(
            node, plan.reused_runs.get(node.name), nodes[node.name], tree_data, networks, context
        )
        for node in tree.inner
    }
    probabilities = leaf_probabilities(tree, answers, classes)
    chosen = DECISIONS[plan.decide](tree, answers, classes)
    dataset, watcher = tree_data.dataset, context.watcher
    images = open_images(dataset.root, tree_data.samples)
    joint = join(run.root, nodes, dataset.preparation, images, networks, watcher)
    export_tflite_of_nodes(run.root, nodes, joint, images, networks, watcher)
    parts = tree_data.parts[used]
    wanted = [
        name for name, reused in plan.reused_runs.items() if reused.data and reused.data.preparation.region
    ]
    films = Films(images, dataset.preparation, parts == TRAIN)
    located = make_locators(run.root, tree, wanted, nodes, films, networks, watcher)
    shown = np.concatenate([np.flatnonzero(parts == VAL), np.flatnonzero(parts == TEST)])
    samples = tree_data.samples
    write_predictions(
        run.root / "predictions.csv",
        [(samples[place], SPLITS[parts[place]]) for place in shown],
        probabilities[shown],
        classes,
        chosen=chosen[shown],
        columns={
            name: values[shown] for name, values in {**to_columns(tree, answers), **located.columns}.items()
        },
    )
    _write_training_images(run, tree_data, [nodes[name] for name in plan.reused_runs])
    write_text(run.root / "recipe.toml", to_recipe(plan, tree_data.dataset))
    labels = np.array([classes.index(sample.label) for sample in samples])
    facts = {
        **_facts(plan, tree_data, run.root, nodes),
        "recipe": context.recipe or None,
        JOINT: list(joint.nodes),
        FOLDER: located.facts,
        "exports": {**({JOINT: joint.export} if joint.export else {}), **located.exports},
        **accuracies(chosen == labels, samples, parts, dataset.info["protocol"]),
    }
    write_results(Run(run.root, {**run.info, **facts}))
    return complete_run(run, facts)


def _answers_of(
    node: Tree,
    reused: ReusedRun | None,
    run: Run,
    tree_data: TreeData,
    networks: Networks,
    context: RunContext,
) -> np.ndarray:
    """A node's probabilities (used images, children); where it has no image of its own for one, the shares of
    its children in train."""
    own = reused.data if reused else None
    place = Place(
        own.root if own else tree_data.dataset.root,
        tree_data.cache,
        networks,
        context.device,
        context.workers,
        context.verbose,
        context.watcher,
    )
    order = [run.classes.index(name) for name in node.names]
    if own is None:
        return answers_of_run(run, tree_data.samples, place)[:, order]
    found = matching_images(node, own, tree_data)
    answers = np.tile(shares_in_train(node, tree_data), (len(found), 1))
    there = [number for number, sample in enumerate(found) if sample is not None]
    samples = [sample for sample in found if sample is not None]
    answers[there] = answers_of_run(run, samples, place)[:, order]
    return answers


def shares_in_train(node: Tree, tree_data: TreeData) -> np.ndarray:
    """How the images under a node are spread over its children in train (children,)."""
    counts = np.zeros(len(node.children))
    for place in np.flatnonzero(tree_data.parts == TRAIN):
        child = node.child_of(tree_data.dataset.samples[place].label)
        if child is not None:
            counts[node.names.index(child)] += 1
    return counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))


def _write_training_images(run: Run, tree_data: TreeData, grafted: Sequence[Run]) -> None:
    dataset, looks = tree_data.dataset, hashes_of(tree_data.dataset, tree_data.cache)
    rows = [
        (dataset.samples[place], SPLITS[part], *looks[place].tolist())
        for place, part in enumerate(tree_data.parts.tolist())
        if part in (TRAIN, VAL)
    ]
    write_training_images(
        run.root / TRAINING_IMAGES, [*rows, *(row for other in grafted for row in training_images_of(other))]
    )


def _facts(plan: Plan, tree_data: TreeData, root: Path, nodes: Mapping[str, Run]) -> dict[str, Any]:
    """What run.json says of the data and the nodes, beyond the settings."""
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
        "backbone": ", ".join(dict.fromkeys(node.info["backbone"] for node in nodes.values())),
        "dataset": info["dataset"],
        "protocol": info["protocol"],
        "classes": classes,
        **dataset.positive_facts,
        "preparation": info["preparation"],
        "data": {
            "hash": dataset.hash,
            "images": len(dataset.samples),
            "path": os.path.relpath(dataset.root, root),
        },
        "leakage": {part: leak.to_json() for part, leak in tree_data.leaks.items()},
        "seed": plan.node_settings.design.schedule.seed,
        "size": list(open_images(dataset.root, tree_data.samples).size),
        "parameters": sum(node.info.get("parameters", 0) for node in nodes.values()),
    }
