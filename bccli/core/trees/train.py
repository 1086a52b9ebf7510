"""From a label tree and a prepared dataset to a run of kind tree: a classifier for each node with children.

A node is trained on the images that truly belong under it, labelled with its children; its answers to all
others count in the probabilities of the whole. Its run lies in `RUN/NODE` and is one like any other.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import bccli
from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree
from bccli.core.errors import UsageError
from bccli.core.runs.run_folder import LOG_FILE, RUN_FILE, Run, load_run
from bccli.core.runs.run_info import COMPLETE, TREE, RunInfo
from bccli.core.sweeps.sharing import AtWork, Container, Share, Unit
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import default_cache
from bccli.core.training.network import RunContext
from bccli.core.trees.learned_crops import make_detector
from bccli.core.trees.node_predictions import Networks
from bccli.core.trees.plan import DETECTOR, LEARNED, Plan
from bccli.core.trees.run_contents import complete_tree
from bccli.core.trees.train_node import FROZEN, make_node
from bccli.core.trees.tree_data import TreeData, prepare_tree_data, share_hashes


def train_tree(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run:
    """Train or compose a tree, or continue or recognise the run `root`.

    Raises what `network.train` raises.
    """
    watcher = context.watcher
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    tree_data = prepare_tree_data(plan, dataset, cache or default_cache(dataset, root), watcher)
    with tree_container(plan, dataset).opened(root, context.shard, overwrite=context.overwrite) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with context.log(root / LOG_FILE):
            count = f"{len(plan.trained)} node{'s' * (len(plan.trained) != 1)}"
            watcher.note(
                f"bccli {bccli.__version__} hierarchy {plan.tree}: {count} to train, {dataset.root} → {root}"
            )
            share_hashes(plan, tree_data)
            networks = Networks()
            inside, models = replace(context.inner, recipe=""), ModelCache(networks.known)
            learned = plan.detector == LEARNED
            detector = make_detector(plan, tree_data, root, inside) if learned else None
            nodes = {
                node.name: make_node(node, plan, tree_data, root, inside, models) for node in plan.tree.inner
            }
            return complete_tree(plan, tree_data, run, nodes, detector, networks, context)


def tree_container(plan: Plan, dataset: Dataset) -> Container:
    """The run of a tree, and what may lie in it."""
    names = [f"{node.name}{ending}" for node in plan.tree.inner for ending in ("", f".{FROZEN}")]
    names += [DETECTOR] if plan.detector == LEARNED else []
    return Container("", TREE, {**plan.to_json(), "data": dataset.hash}, names, plan.extendable)


def tree_units(plan: Plan, dataset: Dataset, context: RunContext, *, cache: Path) -> list[Unit]:
    """The nodes of a tree that are trained, and its detector, for tasks that share them."""
    inside, models = replace(context.inner, recipe=""), ModelCache()

    @lru_cache
    def tree_data() -> TreeData:
        found = prepare_tree_data(plan, dataset, cache, context.watcher)
        share_hashes(plan, found)
        return found

    def unit(node: Tree) -> Unit:
        return Unit(
            node.name, lambda folder: make_node(node, plan, tree_data(), folder.parent, inside, models)
        )

    detector = Unit(DETECTOR, lambda folder: make_detector(plan, tree_data(), folder.parent, inside))
    return [*(unit(node) for node in plan.trained), *([detector] if plan.trains_detector else [])]


def share_tree(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run | AtWork:
    """Do a task's share of `train_tree`; the last to end puts the tree together."""
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    folder = cache or default_cache(dataset, root)
    return Share(root, context.shard, context.watcher).make(
        tree_container(plan, dataset),
        tree_units(plan, dataset, context, cache=folder),
        lambda failures: train_tree(plan, dataset, root, context, cache=folder),
    )


def refuse_own_nodes(plan: Plan, root: Path, *, overwrite: bool) -> None:
    """Raises UsageError where a run is to be composed of one that lies in it, and is about to be replaced."""
    inside = [
        reused.run.root for reused in plan.copied if root.resolve() in reused.run.root.resolve().parents
    ]
    if inside and (overwrite or RunInfo.read(root / RUN_FILE).status != COMPLETE):
        raise UsageError(
            f"--compose {inside[0]}: lies in {root}, which is to be made anew; copy it elsewhere"
        )
