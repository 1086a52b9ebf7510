"""The run of one node of a tree: trained, in one stage or two, or copied from a run that is reused."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bccli.core.data.label_tree import Tree
from bccli.core.data.node_subset import subset_of
from bccli.core.files import is_temporary
from bccli.core.runs.run_folder import Run, load_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Design, resolve
from bccli.core.training.finetune import design_of, find_layers
from bccli.core.training.network import RunContext, train
from bccli.core.trees.plan import Plan, Second
from bccli.core.trees.tree_data import TreeData

FROZEN = "frozen"
"""What the name of a node's first run ends on where a second one follows it."""


def make_node(
    node: Tree, plan: Plan, tree_data: TreeData, root: Path, context: RunContext, models: ModelCache
) -> Run:
    """Make, continue or recognise the run of a node in `root`, the tree's. Raises what `train` raises."""
    folder, reused, children = root / node.name, plan.reused_runs.get(node.name), ", ".join(node.names)
    if reused:
        context.watcher.note(f"{node.name} ({children}): from {reused.run.root}")
        return _copy(reused.run, folder)
    context.watcher.note(f"{node.name}: {children}")
    subset, _ = subset_of(tree_data.dataset, plan.tree, node)
    settings, cache = plan.settings_of(node.name), tree_data.cache
    if settings.second is None:
        # The .tflite of a frozen backbone follows, perhaps one for several nodes.
        frozen = resolve(settings.design)[0].trainable == "none"
        context = replace(context, export_tflite=not frozen)
        return train(settings.design, subset, folder, context, cache=cache, models=models)
    base = train(settings.design, subset, root / f"{node.name}.{FROZEN}", context, cache=cache, models=models)
    design = _second_design(base, settings.design, settings.second, context)
    return train(design, subset, folder, context, cache=cache, models=models)


def _second_design(base: Run, design: Design, second: Second, context: RunContext) -> Design:
    """The design of a node's second stage, which starts from the run of its first."""
    (layer,) = find_layers(
        base,
        layers=(second.from_layer,),
        blocks=None,
        whole=False,
        device=context.device,
        verbose=context.verbose,
    )
    schedule = replace(design.schedule, epochs=second.epochs, lr=second.lr)
    return design_of(
        base, replace(design, schedule=schedule), layer, head=None, train_batch_norm=second.train_batch_norm
    )


def _copy(run: Run, folder: Path) -> Run:
    """The run in another folder, whole or not at all; what is there of an earlier start is replaced."""

    def unwanted(path: str, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in (".lock", ".cache") or is_temporary(Path(path, name))]

    temporary = folder.with_name(f".{folder.name}.copy")
    for old in (temporary, folder):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(run.root, temporary, ignore=unwanted)
    os.replace(temporary, folder)
    return load_run(folder)
