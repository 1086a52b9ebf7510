"""Trees of all folds, and of several seeds: `hierarchy --fold all` and `--seeds`."""

from dataclasses import replace
from pathlib import Path

from bccli.core.data.dataset import Dataset
from bccli.core.runs.run_folder import Run
from bccli.core.sweeps.cross_validation import Folds, cross_validate, require_folds
from bccli.core.sweeps.sweep import Member, Rules, Sweep, run_sweep
from bccli.core.training.design import default_cache
from bccli.core.training.network import RunContext
from bccli.core.trees.plan import Plan, to_recipe
from bccli.core.trees.train import refuse_own_nodes, train_tree
from bccli.core.trees.tree_data import prepare_tree_data


def train_tree_folds(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run:
    """Train a tree per fold in `root/fold-K`; a reused run of all folds gives each the one of its fold.

    Raises what `train_tree` raises.
    """
    require_folds(dataset)
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    folder, inside = cache or default_cache(dataset, root), replace(context, overwrite=False)
    folds = Folds(
        dataset,
        lambda fold, target: train_tree(plan.of_fold(fold), dataset, target, inside, cache=folder),
        lambda fold: prepare_tree_data(plan.of_fold(fold), dataset, folder),
        plan.to_json(),
        to_recipe(plan, "all"),
        plan.extendable,
    )
    return cross_validate(folds, root, context)


def train_tree_seeds(
    plan: Plan,
    seeds: int,
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    folds: bool = False,
    cache: Path | None = None,
    keep_all: bool = True,
) -> Sweep:
    """Train a tree, with `folds` one of each fold, for each of so many seeds in `root/tree-seedN`, and
    compare them. Raises what `sweep.run_sweep` raises."""
    if folds:
        require_folds(dataset)
    cache, inside = cache or default_cache(dataset, root), replace(context, overwrite=False)
    make = train_tree_folds if folds else train_tree

    def member(offset: int) -> Member:
        own = plan.with_seeds_from(offset)
        seed = own.node_settings.design.schedule.seed
        return Member(
            f"tree-seed{seed}",
            {"seed": seed},
            lambda folder, _: make(own, dataset, folder, inside, cache=cache),
            "tree",
        )

    settings = {key: value for key, value in plan.to_json().items() if key != "seed"}
    settings |= {"command": "hierarchy", "data": dataset.hash} | ({"fold": "all"} if folds else {})
    return run_sweep(
        root,
        [member(offset) for offset in range(seeds)],
        settings,
        Rules(keep_all=keep_all, recipe=context.recipe),
        extendable=plan.extendable,
        overwrite=context.overwrite,
        watcher=context.watcher,
    )
