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
from bccli.core.data.audit import audit, keep_looks, looks_of, looks_path, refuse_leakage
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.label_tree import Tree
from bccli.core.data.leakage import Leak, leak_sentences
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.data.node_subset import view_of
from bccli.core.errors import DataError, LeakageError, UsageError
from bccli.core.evaluation.external import SEEN, audit_against, check_form, seen_by, write_seen
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
from bccli.core.training.design import LATER, TEST, TRAIN, VAL, check_parts, default_cache, parts_of, resolve
from bccli.core.training.network import Surroundings, train
from bccli.core.training.run_contents import write_results
from bccli.core.trees.node_predictions import Networks, Place, answers_of_run
from bccli.core.trees.plan import Graft, Plan, to_recipe
from bccli.core.trees.predictor import JOINT
from bccli.core.trees.shared_backbone import give_light_forms, join
from bccli.core.trees.train_region_finder import Films, make_locators

FROZEN = "frozen"
"""What the name of a node's first run ends on where a second one follows it."""


@dataclass(frozen=True)
class Ground:
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


def grow(
    plan: Plan, dataset: Dataset, root: Path, surroundings: Surroundings, *, cache: Path | None = None
) -> Run:
    """Train or compose a tree, or continue or recognise the run `root`.

    Raises what `network.train` raises.
    """
    watcher = surroundings.watcher
    _refuse_own_parts(plan, root, overwrite=surroundings.overwrite)
    ground = _prepare_ground(plan, dataset, cache or default_cache(dataset, root), watcher)
    settings = {**plan.to_json(), "data": dataset.hash}
    extendable = all(plan.course_of(node.name).extendable for node in plan.tree.inner)
    later = {**LATER, "tune_epochs": None, "tune_lr": None}
    with open_run(
        root, "tree", settings, overwrite=surroundings.overwrite, extendable=extendable, later=later
    ) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with surroundings.log(root / "log.txt"):
            watcher.note(
                f"bccli {bccli.__version__} hierarchy {plan.tree}: {len(plan.trained)} nodes to train, "
                f"{dataset.root} → {root}"
            )
            _share_looks(plan, ground)
            networks = Networks()
            inside = replace(surroundings, overwrite=False, recipe="", bases={}, networks=networks.known)
            nodes = {node.name: _make_node(node, plan, ground, root, inside) for node in plan.tree.inner}
            return _finish(plan, ground, run, nodes, networks, surroundings)


def _refuse_own_parts(plan: Plan, root: Path, *, overwrite: bool) -> None:
    """Raises UsageError where a run is to be composed of one that lies in it, and is about to be replaced."""
    inside = [
        graft.run.root for graft in plan.grafts.values() if root.resolve() in graft.run.root.resolve().parents
    ]
    if inside and (overwrite or not Run(root, read_json(root / "run.json")).complete):
        raise UsageError(
            f"--compose {inside[0]}: lies in {root}, which is to be made anew; copy it elsewhere"
        )


def _prepare_ground(plan: Plan, dataset: Dataset, cache: Path, watcher: Watcher) -> Ground:
    """What can be checked before anything is trained. Raises DataError, UsageError, LeakageError."""
    parts = parts_of(dataset, plan.course.design.fold)
    if not (parts >= 0).any():
        raise DataError(f"{dataset.root}: no image is in train, val or test; prepare it with other --ratios")
    size = open_images(dataset.root, [dataset.samples[place] for place in np.flatnonzero(parts >= 0)]).size
    for node in plan.trained:
        view, places = view_of(dataset, plan.tree, node)
        check_parts(view, parts[places])
        design = plan.course_of(node.name).design
        units(design.head.output, len(node.children))
        check_size(find_backbone(design.backbone), size)
    leaks = audit(dataset, parts, cache)
    allowed = plan.course.design.allow_leakage or dataset.allows_leakage
    refuse_leakage(leaks, dataset, allowed=allowed)
    for sentence in leak_sentences({part: leak.to_json() for part, leak in leaks.items()}):
        watcher.warn(sentence)
    ground = Ground(dataset, parts, leaks, cache)
    for node in plan.tree.inner:
        if node.name in plan.grafts:
            _check_graft(node, plan.grafts[node.name], ground, allowed=allowed, watcher=watcher)
    return ground


def _check_graft(node: Tree, graft: Graft, ground: Ground, *, allowed: bool, watcher: Watcher) -> None:
    run, dataset = graft.run, ground.dataset
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
    check_form(run, graft.data or dataset, watcher)
    if graft.data:
        counterparts(node, graft.data, ground)
    leak = audit_against(run, dataset, chosen=ground.parts == TEST)
    if leak.serious:
        said = f"{run.root} was trained on what is test here: {leak_sentences({'test': leak.to_json()})[0]}"
        if not allowed:
            raise LeakageError(
                f"{dataset.root}: {said}; keep those patients out of test, or insist with --allow-leakage"
            )
        watcher.warn(said)


def counterparts(node: Tree, data: Dataset, ground: Ground) -> list[Sample | None]:
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
    for sample in ground.samples:
        other = by_source.get(sample.source) if sample.variant == 0 else None
        child = node.child_of(sample.label)
        if child is not None and sample.variant == 0:
            if other is None:
                raise DataError(
                    f"{data.root}: has no image of {sample.source}, which is {sample.label} in "
                    f"{ground.dataset.root}; prepare both from the same source"
                )
            if other.label not in (sample.label, child):
                raise DataError(
                    f"{data.root}: {sample.source} is {other.label} there and {sample.label} in "
                    f"{ground.dataset.root}; prepare both from the same source"
                )
        found.append(other)
    return found


def _share_looks(plan: Plan, ground: Ground) -> None:
    """Give each node's audit the perceptual hashes that the whole one has made."""
    looks = looks_of(ground.dataset, ground.cache)
    for node in plan.trained:
        view, places = view_of(ground.dataset, plan.tree, node)
        path = looks_path(ground.cache, view.hash)
        if not path.exists():
            with suppress(PermissionError):
                keep_looks(path, looks["perceptual"][places], looks["blank"][places])


def _make_node(node: Tree, plan: Plan, ground: Ground, root: Path, surroundings: Surroundings) -> Run:
    place, watcher = root / node.name, surroundings.watcher
    if node.name in plan.grafts:
        watcher.note(f"{node.name} ({', '.join(node.names)}): from {plan.grafts[node.name].run.root}")
        return _copy(plan.grafts[node.name].run, place)
    watcher.note(f"{node.name}: {', '.join(node.names)}")
    view, _ = view_of(ground.dataset, plan.tree, node)
    course = plan.course_of(node.name)
    if course.second is None:
        frozen = resolve(course.design)[0].trainable == "none"
        inside = replace(surroundings, light=not frozen)
        return train(course.design, view, place, inside, cache=ground.cache)
    base = train(course.design, view, root / f"{node.name}.{FROZEN}", surroundings, cache=ground.cache)
    (layer,) = finetuning.find_layers(
        base,
        layers=(course.second.from_layer,),
        blocks=None,
        whole=False,
        device=surroundings.device,
        verbose=surroundings.verbose,
    )
    schedule = replace(course.design.schedule, epochs=course.second.epochs, lr=course.second.lr)
    design = finetuning.design_of(
        base,
        replace(course.design, schedule=schedule),
        layer,
        head=None,
        train_batch_norm=course.second.train_batch_norm,
    )
    return train(design, view, place, surroundings, cache=ground.cache)


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
    ground: Ground,
    run: Run,
    nodes: Mapping[str, Run],
    networks: Networks,
    surroundings: Surroundings,
) -> Run:
    """The answers of all nodes to all images, and what a run folder holds of them."""
    tree, classes, used = plan.tree, ground.dataset.classes, ground.used
    answers = {
        node.name: _answers_of(
            node, plan.grafts.get(node.name), nodes[node.name], ground, networks, surroundings
        )
        for node in tree.inner
    }
    probabilities = leaf_probabilities(tree, answers, classes)
    chosen = DECISIONS[plan.decide](tree, answers, classes)
    dataset, watcher = ground.dataset, surroundings.watcher
    images = open_images(dataset.root, ground.samples)
    joint = join(run.root, nodes, dataset.preparation, images, networks, watcher)
    give_light_forms(run.root, nodes, joint, images, networks, watcher)
    parts = ground.parts[used]
    wanted = [name for name, graft in plan.grafts.items() if graft.data and graft.data.preparation.region]
    films = Films(images, dataset.preparation, parts == TRAIN)
    located = make_locators(run.root, tree, wanted, nodes, films, networks, watcher)
    shown = np.concatenate([np.flatnonzero(parts == VAL), np.flatnonzero(parts == TEST)])
    samples = ground.samples
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
    _write_seen(run, ground, [nodes[name] for name in plan.grafts])
    write_text(run.root / "recipe.toml", to_recipe(plan, ground.dataset))
    labels = np.array([classes.index(sample.label) for sample in samples])
    facts = {
        **_facts(plan, ground, run.root, nodes),
        "recipe": surroundings.recipe or None,
        JOINT: list(joint.nodes),
        FOLDER: located.facts,
        "exports": {**({JOINT: joint.export} if joint.export else {}), **located.exports},
        **accuracies(chosen == labels, samples, parts, dataset.info["protocol"]),
    }
    write_results(Run(run.root, {**run.info, **facts}))
    return complete_run(run, facts)


def _answers_of(
    node: Tree,
    graft: Graft | None,
    run: Run,
    ground: Ground,
    networks: Networks,
    surroundings: Surroundings,
) -> np.ndarray:
    """A node's probabilities (used images, children); where it has no image of its own for one, the shares of
    its children in train."""
    own = graft.data if graft else None
    place = Place(
        own.root if own else ground.dataset.root,
        ground.cache,
        networks,
        surroundings.device,
        surroundings.workers,
        surroundings.verbose,
        surroundings.watcher,
    )
    order = [run.classes.index(name) for name in node.names]
    if own is None:
        return answers_of_run(run, ground.samples, place)[:, order]
    found = counterparts(node, own, ground)
    answers = np.tile(shares_in_train(node, ground), (len(found), 1))
    there = [number for number, sample in enumerate(found) if sample is not None]
    samples = [sample for sample in found if sample is not None]
    answers[there] = answers_of_run(run, samples, place)[:, order]
    return answers


def shares_in_train(node: Tree, ground: Ground) -> np.ndarray:
    """How the images under a node are spread over its children in train (children,)."""
    counts = np.zeros(len(node.children))
    for place in np.flatnonzero(ground.parts == TRAIN):
        child = node.child_of(ground.dataset.samples[place].label)
        if child is not None:
            counts[node.names.index(child)] += 1
    return counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))


def _write_seen(run: Run, ground: Ground, grafted: Sequence[Run]) -> None:
    dataset, looks = ground.dataset, looks_of(ground.dataset, ground.cache)
    rows = [
        (dataset.samples[place], SPLITS[part], *looks[place].tolist())
        for place, part in enumerate(ground.parts.tolist())
        if part in (TRAIN, VAL)
    ]
    write_seen(run.root / SEEN, [*rows, *(row for other in grafted for row in seen_by(other))])


def _facts(plan: Plan, ground: Ground, root: Path, nodes: Mapping[str, Run]) -> dict[str, Any]:
    """What run.json says of the data and the nodes, beyond the settings."""
    dataset, info = ground.dataset, ground.dataset.info
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
        "leakage": {part: leak.to_json() for part, leak in ground.leaks.items()},
        "seed": plan.course.design.schedule.seed,
        "size": list(open_images(dataset.root, ground.samples).size),
        "parameters": sum(node.info.get("parameters", 0) for node in nodes.values()),
    }
