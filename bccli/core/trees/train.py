"""From a label tree and a prepared dataset to a run of kind tree: a classifier for each node with children.

A node is trained on the images that truly belong under it, labelled with its children; its answers to all
others count in the probabilities of the whole. Its run lies in `RUN/NODE` and is one like any other.
"""

from dataclasses import replace
from pathlib import Path

import bccli
from bccli.core.data.dataset import Dataset
from bccli.core.errors import UsageError
from bccli.core.runs.run_folder import LOG_FILE, RUN_FILE, Run, load_run, open_run
from bccli.core.runs.run_info import COMPLETE, RunInfo
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import default_cache
from bccli.core.training.network import RunContext
from bccli.core.trees.node_predictions import Networks
from bccli.core.trees.plan import Plan
from bccli.core.trees.run_contents import complete_tree
from bccli.core.trees.train_node import make_node
from bccli.core.trees.tree_data import prepare_tree_data, share_hashes


def train_tree(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run:
    """Train or compose a tree, or continue or recognise the run `root`.

    Raises what `network.train` raises.
    """
    watcher = context.watcher
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    tree_data = prepare_tree_data(plan, dataset, cache or default_cache(dataset, root), watcher)
    settings = {**plan.to_json(), "data": dataset.hash}
    with open_run(root, "tree", settings, overwrite=context.overwrite, extendable=plan.extendable) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with context.log(root / LOG_FILE):
            watcher.note(
                f"bccli {bccli.__version__} hierarchy {plan.tree}: {len(plan.trained)} nodes to train, "
                f"{dataset.root} → {root}"
            )
            share_hashes(plan, tree_data)
            networks = Networks()
            inside, models = replace(context, overwrite=False, recipe=""), ModelCache(networks.known)
            nodes = {
                node.name: make_node(node, plan, tree_data, root, inside, models) for node in plan.tree.inner
            }
            return complete_tree(plan, tree_data, run, nodes, networks, context)


def refuse_own_nodes(plan: Plan, root: Path, *, overwrite: bool) -> None:
    """Raises UsageError where a run is to be composed of one that lies in it, and is about to be replaced."""
    inside = [
        reused.run.root
        for reused in plan.reused_runs.values()
        if root.resolve() in reused.run.root.resolve().parents
    ]
    if inside and (overwrite or RunInfo.read(root / RUN_FILE).status != COMPLETE):
        raise UsageError(
            f"--compose {inside[0]}: lies in {root}, which is to be made anew; copy it elsewhere"
        )
