"""`--fold all`: a run per fold, and their out-of-fold predictions pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.errors import UsageError
from bccli.core.files import write_text
from bccli.core.runs.run_folder import PREDICTIONS_FILE, RECIPE_FILE, Run, complete_run, load_run, open_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Design, default_cache, resolve
from bccli.core.training.network import RunContext, train
from bccli.core.training.recipe import to_recipe
from bccli.core.training.run_contents import stored_figures, write_results

# What is also given as mean and standard deviation over the folds.
_SPREAD = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "loss")


def train_folds(
    design: Design,
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    cache: Path | None = None,
    models: ModelCache | None = None,
) -> Run:
    """Train a run per fold in `root/fold-K` and complete `root` with their pooled test predictions.

    Complete folds are not trained again. Raises what `network.train` raises.
    """
    if not dataset.folds:
        raise UsageError("--fold all: this dataset has splits, not folds; prepare it with --folds")
    resolved, _, weights = resolve(design)
    settings = {**resolved.to_json(weights), "fold": "all", "data": dataset.hash}
    cache, overwrite = cache or default_cache(dataset, root), context.overwrite
    extendable = resolved.schedule.extendable
    with open_run(root, "folds", settings, overwrite=overwrite, extendable=extendable) as run:
        if run is None:
            context.watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        models = models or ModelCache()
        inside = replace(context, overwrite=False)
        members = [
            train(
                replace(design, fold=fold), dataset, root / f"fold-{fold}", inside, cache=cache, models=models
            )
            for fold in range(dataset.folds)
        ]
        write_text(root / RECIPE_FILE, to_recipe(resolved, weights, "all"))
        return _pool(run, members)


def _pool(run: Run, members: list[Run]) -> Run:
    """The run of kind folds: predictions of each image by the fold that did not see it."""
    first = members[0].info.facts()
    pooled: list[str] = []
    for number, member in enumerate(members):
        header, *lines = (
            member.file(PREDICTIONS_FILE).read_text("utf-8", "surrogateescape").splitlines(keepends=True)
        )
        pooled += lines if number else [header, *lines]
    write_text(run.root / PREDICTIONS_FILE, "".join(pooled))
    shared = (
        "backbone",
        "dataset",
        "protocol",
        "classes",
        "positive",
        "positive_origin",
        "beta_rows",
        "preparation",
        "data",
        "size",
        "parameters",
        "seed",
        "recipe",
    )
    facts = {key: first[key] for key in shared}
    facts |= {
        "parts": [member.root.name for member in members],
        "train_accuracy": _mean(members, "train_accuracy"),
        "val_accuracy": _mean(members, "val_accuracy"),
        "leakage": _summed([member.info.leakage for member in members]),
        "spread": _spread(members),
    }
    write_results(run.with_facts(**facts))
    return complete_run(run, facts)


def _mean(members: list[Run], key: str) -> float:
    return float(np.mean([getattr(member.info, key) for member in members]))


def _summed(leaks: Sequence[Mapping[str, Mapping[str, int | None]]]) -> dict[str, dict[str, int | None]]:
    return {
        split: {kind: sum(leak[split][kind] or 0 for leak in leaks) for kind in leaks[0][split]}
        for split in leaks[0]
    }


def _spread(members: list[Run]) -> dict[str, dict[str, list[float | None]]]:
    """Mean and standard deviation of each measure over the folds, for val and test."""
    result: dict[str, dict[str, list[float | None]]] = {}
    for split in ("val", "test"):
        rows = [figures for member in members for figures in stored_figures(member) if figures.split == split]
        for measure in _SPREAD:
            values = [getattr(row, measure) for row in rows]
            known = all(value is not None for value in values)
            result.setdefault(split, {})[measure] = (
                [float(np.mean(values)), float(np.std(values, ddof=1))] if known else [None, None]
            )
    return result
