"""`--fold all`: a run per fold, of whatever kind, and their out-of-fold predictions pooled."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.errors import UsageError
from bccli.core.files import write_text
from bccli.core.runs.run_folder import (
    BOXES_FILE,
    FILMS_FILE,
    LESIONS_FILE,
    PATCHES_FILE,
    PREDICTIONS_FILE,
    RECIPE_FILE,
    Run,
    complete_run,
    load_run,
)
from bccli.core.runs.run_info import FOLDS
from bccli.core.runs.shard import WHOLE
from bccli.core.sweeps.sharing import AtWork, Container, Share, Unit, within
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Design, default_cache, resolve
from bccli.core.training.network import RunContext, checked_job, train
from bccli.core.training.plots import draw
from bccli.core.training.recipe import to_recipe
from bccli.core.training.run_contents import stored_figures, write_results
from bccli.core.workers import Team

# What is also given as mean and standard deviation over the folds.
_SPREAD = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "loss")

# The facts of the first fold that are those of all, where its kind has them.
_SHARED = (
    "backbone", "dataset", "protocol", "classes", "positive", "positive_origin", "beta_rows", "preparation",
    "size", "parameters", "seed", "recipe", "images", "tree", "decide", "columns", "loss",
    "label_smoothing", "card", "joined", "vectors",
)  # fmt: skip


@dataclass(frozen=True)
class Folds:
    """The folds of a dataset as runs: what `make` makes of each, by its number, in a folder of its own.

    `check` raises what would stop a fold before anything is made. `settings` are those by which two calls are
    the same, `recipe` repeats them; more epochs may follow if they are `extendable`. `base` is the run of all
    folds that they build upon, if there is one.
    """

    dataset: Dataset
    make: Callable[[int, Path], Run]
    check: Callable[[int], object]
    settings: Mapping[str, Any]
    recipe: str
    extendable: bool = True
    base: Path | None = None

    @property
    def container(self) -> Container:
        """The run of all folds."""
        settings = {**self.settings, "fold": "all", "data": self.dataset.hash}
        return Container("", FOLDS, settings, fold_names(self.dataset), self.extendable)


def fold_names(dataset: Dataset) -> list[str]:
    """The folders of the runs of a dataset's folds."""
    return [f"fold-{fold}" for fold in range(dataset.folds)]


def fold_units(dataset: Dataset, folds: Callable[[], Folds]) -> list[Unit]:
    """The run of each fold for tasks that share them; the `folds` are asked for when one is made."""

    def unit(fold: int, name: str) -> Unit:
        return Unit(name, lambda folder: folds().make(fold, folder))

    return [unit(fold, name) for fold, name in enumerate(fold_names(dataset))]


def cross_validate(folds: Folds, root: Path, context: RunContext) -> Run:
    """Make the run of each fold in `root/fold-K`, and complete `root` with their pooled predictions.

    All folds are checked before the first is made; complete ones are not made again. Raises what `make`
    raises.
    """
    with folds.container.opened(root, context.shard, overwrite=context.overwrite) as run:
        if run is None:
            context.watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        check_all(folds)
        members = [folds.make(fold, root / name) for fold, name in enumerate(fold_names(folds.dataset))]
        write_text(root / RECIPE_FILE, folds.recipe)
        return _pool(folds, run, members)


def check_all(folds: Folds) -> None:
    """Raises what would stop a fold."""
    for fold in range(folds.dataset.folds):
        folds.check(fold)


def train_folds(
    design: Design,
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    cache: Path | None = None,
    models: ModelCache | None = None,
) -> Run:
    """Train a run per fold by a design; what builds upon a run of all folds builds upon that of the same one.

    Raises what `network.train` raises.
    """
    folder = cache or default_cache(dataset, root)
    folds = design_folds(design, dataset, context, cache=folder, models=models or ModelCache())
    return cross_validate(folds, root, context)


def share_folds(
    design: Design, dataset: Dataset, root: Path, context: RunContext, *, cache: Path | None = None
) -> Run | AtWork:
    """Do a task's share of `train_folds`; the last to end pools the folds."""
    folder = cache or default_cache(dataset, root)
    folds = design_folds(design, dataset, context, cache=folder, models=ModelCache())
    return share_cross_validation(folds, fold_units(dataset, lambda: folds), root, context)


def train_one(
    design: Design,
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    folds: bool,
    cache: Path | None = None,
) -> Run | AtWork:
    """Train a run by a design, or with `folds` one of each, of which a shard does its share.

    Raises UsageError for a shard of a single run, and what `train_folds` raises.
    """
    if context.shard == WHOLE and folds:
        with Team(draw, 1) as plot_pool:
            beside = replace(context, plot_pool=plot_pool)
            return train_folds(design, dataset, root, beside, cache=cache)
    if context.shard == WHOLE:
        run = train(design, dataset, root, context, cache=cache)
        return run if context.strategy.leads else AtWork(0)
    if not folds:
        raise UsageError(
            "--shard: this is one run, which is not shared; several of --backbone, --classifier, "
            "--from-layer, --seeds or --fold all make runs that are"
        )
    return share_folds(design, dataset, root, context, cache=cache)


def units_of_folds(
    name: str, design: Design, dataset: Dataset, context: RunContext, *, cache: Path, models: ModelCache
) -> list[Unit]:
    """The folds of a design, which is a member `name` of a sweep, for tasks that share them."""

    @lru_cache
    def folds() -> Folds:
        return design_folds(design, dataset, context, cache=cache, models=models)

    return within(name, lambda: folds().container, fold_units(dataset, folds))


def share_cross_validation(
    folds: Folds, units: Sequence[Unit], root: Path, context: RunContext
) -> Run | AtWork:
    """Do a task's share of `cross_validate`, whose work are these `units`."""
    check_all(folds)
    return Share(root, context.shard, context.watcher).make(
        folds.container, units, lambda failures: cross_validate(folds, root, context)
    )


def design_folds(
    design: Design, dataset: Dataset, context: RunContext, *, cache: Path, models: ModelCache
) -> Folds:
    """The folds of a dataset, each trained by a design. Raises UsageError, WeightsError."""
    check_folds(design, dataset)
    resolved, _, weights = resolve(design)
    inside = context.inner
    return Folds(
        dataset,
        lambda fold, target: train(
            replace(design, fold=fold), dataset, target, inside, cache=cache, models=models
        ),
        lambda fold: checked_job(replace(design, fold=fold), dataset, cache),
        resolved.to_json(weights),
        to_recipe(resolved, weights, "all"),
        resolved.schedule.extendable,
        design.base,
    )


def check_folds(design: Design, dataset: Dataset) -> None:
    """Raises UsageError where a dataset has no folds, or a design builds upon the run of one of them."""
    require_folds(dataset)
    if design.base is None:
        return
    info = load_run(design.base).info
    fold = info.settings.get("fold")
    if info.kind != FOLDS and fold is not None and info.data.hash == dataset.hash:
        raise UsageError(
            f"--fold all: {design.base} is the run of fold {fold}, which has learned from patients whom "
            f"other folds test; name a run of all folds, or say --fold {fold}"
        )


def is_of_folds(designs: Iterable[Design], fold: int | str | None) -> bool:
    """Whether all folds are meant: where `fold` says so, or where it says nothing and what the designs build
    upon is of all folds."""
    return fold == "all" or any(design.fold is None and design.builds_on_folds for design in designs)


def require_folds(dataset: Dataset) -> None:
    """Raises UsageError where a dataset has no folds."""
    if not dataset.folds:
        raise UsageError("--fold all: this dataset has splits, not folds; prepare it with --folds")


def _pool(folds: Folds, run: Run, members: Sequence[Run]) -> Run:
    """The run of kind folds: predictions of each image by the fold that did not see it."""
    first = members[0].info.facts()
    for name in (PREDICTIONS_FILE, PATCHES_FILE, BOXES_FILE, LESIONS_FILE, FILMS_FILE):
        if name in members[0].info.files:
            _join_tables(name, run, members)
    facts = {
        **{key: first[key] for key in _SHARED if key in first},
        "data": {**first["data"], "path": os.path.relpath(folds.dataset.root, run.root)},
        **({"base": os.path.relpath(folds.base, run.root)} if folds.base else {}),
        "fold_kind": members[0].info.kind,
        "parts": [member.root.name for member in members],
        "train_accuracy": _mean([member.info.train_accuracy for member in members]),
        "val_accuracy": _mean([member.info.val_accuracy for member in members]),
        "leakage": _summed([member.info.leakage for member in members]),
        "spread": _spread(members),
    }
    if members[0].info.patches:
        facts["patches"] = _of_patches([member.info.patches for member in members])
    write_results(run.with_facts(**facts))
    return complete_run(run, facts)


def _join_tables(name: str, run: Run, members: Sequence[Run]) -> None:
    """A table of the run with the rows of that of each member, whose columns are the same."""
    tables = [member.file(name).read_text("utf-8", "surrogateescape") for member in members]
    header = tables[0].partition("\n")[0]
    write_text(run.root / name, f"{header}\n" + "".join(table.partition("\n")[2] for table in tables))


def _of_patches(accuracies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean accuracies of patches, and what else stands beside them."""
    means = {key: _mean([one[key] for one in accuracies]) for key in ("train_accuracy", "val_accuracy")}
    return {**accuracies[0], **means}


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, None where a value is not known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _summed(leaks: Sequence[Mapping[str, Mapping[str, int | None]]]) -> dict[str, dict[str, int | None]]:
    return {
        split: {kind: sum(leak.get(split, {}).get(kind) or 0 for leak in leaks) for kind in leaks[0][split]}
        for split in leaks[0]
    }


def _spread(members: Sequence[Run]) -> dict[str, dict[str, list[float | None]]]:
    """Mean and standard deviation of each measure over the folds, for val and test."""
    stored = [figures for member in members for figures in stored_figures(member)]
    result: dict[str, dict[str, list[float | None]]] = {}
    for split in ("val", "test"):
        rows = [figures for figures in stored if figures.split == split]
        for measure in _SPREAD:
            values = [getattr(row, measure) for row in rows]
            known = all(value is not None for value in values)
            result.setdefault(split, {})[measure] = (
                [float(np.mean(values)), float(np.std(values, ddof=1))] if known else [None, None]
            )
    return result
