"""Trees of all folds, and of several seeds: `hierarchy --fold all` and `--seeds`."""

from functools import partial
from pathlib import Path

from bccli.core.data.dataset import Dataset
from bccli.core.runs.run_folder import Run
from bccli.core.sweeps.cross_validation import (
    Folds,
    cross_validate,
    fold_names,
    require_folds,
    share_cross_validation,
)
from bccli.core.sweeps.sharing import AtWork, Unit, within
from bccli.core.sweeps.sweep import Member, Rules, Sweep, run_sweep
from bccli.core.training.design import default_cache
from bccli.core.training.network import RunContext
from bccli.core.trees.plan import Plan, to_recipe
from bccli.core.trees.train import refuse_own_nodes, train_tree, tree_container, tree_units
from bccli.core.trees.tree_data import prepare_tree_data


def train_tree_folds(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run:
    """Train a tree per fold in `root/fold-K`; a reused run of all folds gives each the one of its fold.

    Raises what `train_tree` raises.
    """
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    return cross_validate(
        tree_folds(plan, dataset, context, cache or default_cache(dataset, root)), root, context
    )


def share_tree_folds(
    plan: Plan, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run | AtWork:
    """Do a task's share of `train_tree_folds`: nodes of trees; the last to end pools the folds."""
    refuse_own_nodes(plan, root, overwrite=context.overwrite)
    folder = cache or default_cache(dataset, root)
    units = _units_of_folds(plan, dataset, context, folder)
    return share_cross_validation(tree_folds(plan, dataset, context, folder), units, root, context)


def tree_folds(plan: Plan, dataset: Dataset, context: RunContext, cache: Path) -> Folds:
    """The folds of a dataset, a tree of each. Raises UsageError where it has none."""
    require_folds(dataset)
    inside = context.inner
    return Folds(
        dataset,
        lambda fold, target: train_tree(plan.of_fold(fold), dataset, target, inside, cache=cache),
        lambda fold: prepare_tree_data(plan.of_fold(fold), dataset, cache),
        plan.to_json(),
        to_recipe(plan, "all"),
        plan.extendable,
    )


def _units_of_folds(plan: Plan, dataset: Dataset, context: RunContext, cache: Path) -> list[Unit]:
    """The nodes of the trees of all folds."""
    found: list[Unit] = []
    for fold, name in enumerate(fold_names(dataset)):
        own = plan.of_fold(fold)
        nodes = tree_units(own, dataset, context, cache=cache)
        found += within(name, partial(tree_container, own, dataset), nodes)
    return found


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
) -> Sweep | AtWork:
    """Train a tree, with `folds` one of each fold, for each of so many seeds in `root/tree-seedN`, and
    compare them. Raises what `sweep.run_sweep` raises."""
    if folds:
        require_folds(dataset)
    cache, inside = cache or default_cache(dataset, root), context.inner
    make = train_tree_folds if folds else train_tree

    def member(offset: int) -> Member:
        own = plan.with_seeds_from(offset)
        seed = own.node_settings.design.schedule.seed
        name = f"tree-seed{seed}"
        return Member(
            name,
            {"seed": seed},
            lambda folder, _: make(own, dataset, folder, inside, cache=cache),
            "tree",
            partial(_units_of_seed, name, own, dataset, inside, cache, folds=folds),
        )

    settings = {key: value for key, value in plan.to_json().items() if key != "seed"}
    settings |= {"command": "hierarchy", "data": dataset.hash} | ({"fold": "all"} if folds else {})
    return run_sweep(
        root,
        [member(offset) for offset in range(seeds)],
        settings,
        Rules(keep_all=keep_all, recipe=context.recipe),
        context,
        extendable=plan.extendable,
    )


def _units_of_seed(
    name: str, plan: Plan, dataset: Dataset, context: RunContext, cache: Path, *, folds: bool
) -> list[Unit]:
    """The nodes of the tree of one seed, or of its folds."""
    if folds:
        units = _units_of_folds(plan, dataset, context, cache)
        return within(name, lambda: tree_folds(plan, dataset, context, cache).container, units)
    nodes = tree_units(plan, dataset, context, cache=cache)
    return within(name, partial(tree_container, plan, dataset), nodes)
