"""The run of one node of a tree: trained, in one stage or two, or copied from a run that is reused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from bccli.core.data.label_tree import Tree
from bccli.core.data.node_subset import subset_of
from bccli.core.files import is_temporary, make_between, settle
from bccli.core.runs.run_folder import RUN_FILE, Run, load_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Design, resolve
from bccli.core.training.finetune import design_of, find_layers
from bccli.core.training.network import RunContext, train
from bccli.core.training.settings import HELD_OUT
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
        return copy_run(reused.run, folder)
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
    if schedule.weight_decay == HELD_OUT:  # which is about the first stage
        schedule = replace(schedule, weight_decay=0.0)
    return design_of(
        base, replace(design, schedule=schedule), layer, head=None, train_batch_norm=second.train_batch_norm
    )


def copy_run(run: Run, folder: Path) -> Run:
    """The run in another folder, whole or not at all; what is there of an earlier start is replaced."""
    temporary = folder.with_name(f".{folder.name}.copy")
    for old in (temporary, folder):
        shutil.rmtree(old, ignore_errors=True)
    temporary.mkdir()
    for name in _files_of(run):
        target = temporary / name
        make_between(temporary, target.parent)
        shutil.copy2(run.root / name, target)
    settle(temporary)
    os.replace(temporary, folder)
    return load_run(folder)


def _files_of(run: Run) -> list[str]:
    """The files of a run below its folder, what belongs to processes left out; what says it is whole is last.

    Members have a run.json of their own: theirs come before the run's.
    """
    found = []
    for folder, folders, names in os.walk(run.root):
        folders[:] = sorted(name for name in folders if name != ".cache")
        paths = (Path(folder, name) for name in names if name != ".lock")
        found += [str(path.relative_to(run.root)) for path in paths if not is_temporary(path)]
    return sorted(found, key=lambda name: (name.endswith(RUN_FILE), -name.count("/"), name))
