"""Several runs in one folder, made one after the other, and the table that compares them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.errors import BccliError, TrainingError
from bccli.core.files import replacing
from bccli.core.metrics.figures import Figures
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import (
    LEADERBOARD_FILE,
    RUN_FILE,
    SECONDS_FILE,
    Run,
    complete_run,
    folds_of,
    load_run,
    reopen,
)
from bccli.core.runs.run_info import SWEEP, RunInfo
from bccli.core.runs.shard import WHOLE
from bccli.core.sweeps.plots import plot_sweep
from bccli.core.sweeps.sharing import FOR_ALL, AtWork, Container, Share, Unit, note_seconds
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import forget_network, keeps_network, stored_figures, write_table


@dataclass(frozen=True)
class Member:
    """One run of a sweep: the name of its folder, what tells it from the others, and how to make it.

    `make` takes the folder, and whether the network is stored. `group` names what it is one of several
    trials of, such as with different seeds. Tasks that share the sweep may share the member, too, where it
    is made of `units`, which are asked for only then.
    """

    name: str
    facts: dict[str, Any]
    make: Callable[[Path, bool], Run]
    group: str = ""
    units: Callable[[], Sequence[Unit]] = tuple


@dataclass(frozen=True)
class Sweep:
    """A sweep that has come to its end: its table, best first, and how many members failed.

    `figures` are those of the complete members on test, or on val where there is none, in the same order.
    """

    root: Path
    rows: list[dict[str, Any]]
    figures: list[Figures]
    failed: int


@dataclass(frozen=True)
class Rules:
    """How a sweep chooses among its members, and whether it keeps the networks of those it does not choose.

    `recipe` names the paper whose figures stand beside those of the sweep.
    """

    reject_overfit: bool = False
    keep_all: bool = True
    recipe: str = ""


def run_sweep(
    root: Path,
    members: Sequence[Member],
    settings: dict[str, Any],
    rules: Rules,
    context: RunContext,
    *,
    extendable: bool = True,
) -> Sweep | AtWork:
    """Make or continue each member in `root/NAME`, and draw what leaderboard.csv shows, which grows with it.

    A member that fails is a row with its reason, and the others go on. Members of an earlier call stay in
    the table. A shard makes what others do not, and the last one to end the table. Raises what is no member's
    own fault, and Stopped after a signal.
    """
    names = [member.name for member in members]
    whole = Container("", SWEEP, settings, names, extendable)
    if context.shard == WHOLE:
        return _run(whole, root, members, rules, context, {})
    return Share(root, context.shard, context.watcher).make(
        whole,
        [unit for member in members for unit in _units(member, rules)],
        lambda failures: _run(whole, root, members, rules, context, _by_member(failures)),
        lenient=True,
    )


def _units(member: Member, rules: Rules) -> Sequence[Unit]:
    return member.units() or [Unit(member.name, lambda folder: member.make(folder, rules.keep_all))]


def _by_member(failures: Mapping[str, str]) -> dict[str, str]:
    """Why members failed, the first reason of each, by their names."""
    found: dict[str, str] = {}
    for path, reason in failures.items():
        found.setdefault(path.partition("/")[0], reason)
    return found


def _run(
    whole: Container,
    root: Path,
    members: Sequence[Member],
    rules: Rules,
    context: RunContext,
    failures: Mapping[str, str],
) -> Sweep:
    """Make all members but those of which it is known that they fail."""
    watcher = context.watcher
    with whole.opened(root, context.shard, overwrite=context.overwrite) as run:
        run = run or Run(root, RunInfo.read(root / RUN_FILE))
        reasons: dict[str, str] = {}
        for number, member in enumerate(members, 1):
            watcher.note(f"{member.name} ({number} of {len(members)})")
            began = time.monotonic()
            try:
                if member.name in failures:
                    raise TrainingError(failures[member.name])
                made = member.make(root / member.name, rules.keep_all)
            except FOR_ALL:
                raise
            except BccliError as error:
                reasons[member.name] = str(error)
                watcher.warn(f"{member.name} failed: {error}")
                continue
            note_seconds(made, time.monotonic() - began)
            rows = leaderboard(root, members[:number], reasons, rules)
            write_table(root / LEADERBOARD_FILE, rows)
            if not rules.keep_all:
                _forget_others(root, rows)
        rows = leaderboard(root, members, reasons, rules)
        _keep_chosen(root, rows, members, watcher)
        write_table(root / LEADERBOARD_FILE, rows)
        _draw(root, rows, rules)
        complete_run(run, {"members": [row["name"] for row in sorted(rows, key=lambda row: row["name"])]})
    complete = (load_run(root / row["name"]) for row in rows if row["status"] == "complete")
    figures = [found for run in complete if (found := _headline(run))]
    return Sweep(root, rows, figures, sum(row["status"] == "failed" for row in rows))


def _headline(run: Run) -> Figures | None:
    """A run's figures on test, or on val."""
    figures = {one.split: one for one in stored_figures(run)}
    return figures.get("test") or figures.get("val")


def _forget_others(root: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Remove the networks of all that are not chosen so far."""
    for row in rows:
        if row["status"] == "complete" and not row["chosen"]:
            forget_network(load_run(root / row["name"]))


def _keep_chosen(
    root: Path, rows: Sequence[dict[str, Any]], members: Sequence[Member], watcher: Watcher
) -> None:
    """Go on with the chosen one where it has no network: from its state, or from the start without one."""
    by_name = {member.name: member for member in members}
    for name in (row["name"] for row in rows if row["chosen"]):
        run = load_run(root / name)
        if not keeps_network(run) and name in by_name:
            watcher.note(f"{name} is chosen: its network is kept")
            reopen(run)
            by_name[name].make(root / name, True)


def _draw(root: Path, rows: Sequence[dict[str, Any]], rules: Rules) -> None:
    (root / "plots").mkdir(exist_ok=True)
    with replacing(root / "plots" / "sweep.png") as stream:
        plot_sweep(rows, stream, recipe=rules.recipe, title=root.resolve().name)


def leaderboard(
    root: Path, members: Sequence[Member], reasons: dict[str, str], rules: Rules
) -> list[dict[str, Any]]:
    """A row per member, by its figures on val, never on test: best accuracy first, then least loss.

    `chosen` is the first one. Those that overfit cannot be chosen where the rules reject them, and come
    after the others; those that failed come last. Where members are trials of the same thing, each has the
    mean and the standard deviation over all of these.
    """
    by_name = {member.name: member for member in members}
    names = dict.fromkeys([*by_name, *sorted(path.parent.name for path in root.glob("*/run.json"))])
    keys = list(dict.fromkeys(key for member in members for key in member.facts))
    rows = [_row(root / name, by_name.get(name), keys, reasons.get(name, "")) for name in names]
    _add_spread(root, rows, members)
    rows.sort(key=lambda row: _rank(row, rules))
    for rank, row in enumerate(rows):
        row["chosen"] = rank == 0 and _rank(row, rules)[0] == 0
    return rows


def _rank(row: dict[str, Any], rules: Rules) -> tuple[float, float, float]:
    group = 2 if row["status"] != "complete" else int(rules.reject_overfit and row["overfit"] is True)
    best, loss = row["val_accuracy"], row["val_loss"]
    return group, -(best if best is not None else -1.0), loss if loss is not None else float("inf")


@dataclass(frozen=True)
class _Complete:
    """A member that is complete: its run.json, its figures by their splits, and those of its trials."""

    info: RunInfo
    figures: Mapping[str | None, Figures]
    trials: Sequence[Mapping[str, float | None]]


def _complete_at(root: Path) -> _Complete:
    """What a complete member holds, read once, since the table is written anew after each of them."""
    if not (root / RUN_FILE).exists():
        load_run(root)  # which says what is wrong
    written = (root / RUN_FILE).stat()
    return _read(root, written.st_mtime_ns, written.st_ino)


@lru_cache(maxsize=4096)
def _read(root: Path, written_at: int, inode: int) -> _Complete:
    run = load_run(root)
    figures = {one.split: one for one in stored_figures(run)}
    return _Complete(run.info, figures, [_measured(fold) for fold in folds_of(run)])


def _row(root: Path, member: Member | None, keys: Sequence[str], reason: str) -> dict[str, Any]:
    figures: Mapping[str | None, Any] = {}
    info: RunInfo | None = None
    try:
        if not reason:
            made = _complete_at(root)
            info, figures = made.info, made.figures
    except BccliError as error:
        reason = str(error)
    known_facts = member.facts if member else {**info.settings, "backbone": info.backbone} if info else {}
    row: dict[str, Any] = {"name": root.name, "chosen": False, "status": "failed" if reason else "complete"}
    row |= {key: known_facts.get(key) for key in keys}
    for split, names in (("val", _ON_VAL), ("test", _ON_TEST)):
        row |= {f"{split}_{name}": getattr(figures.get(split), name, None) for name in names}
    known = figures.get("test") or figures.get("val")
    row |= {name: getattr(known, name, None) for name in _OVERFITTING}
    row |= {
        name: getattr(info, name, None) for name in ("protocol", "parameters", "kept_epoch", "epochs_trained")
    }
    seconds = root / SECONDS_FILE
    row["seconds"] = float(seconds.read_text("ascii")) if seconds.is_file() else None
    return row | {"reason": reason}


_ON_VAL = ("roc_auc", "f1", "accuracy", "loss")
_ON_TEST = ("roc_auc", "auc_paper", "f1", "accuracy", "majority_accuracy", "n", "patients")
_OVERFITTING = ("train_accuracy", "beta", "beta_paper", "overfit", "overfit_paper", "beta_rows")
_SPREAD = ("val_accuracy", "val_roc_auc", "test_accuracy", "test_roc_auc", "test_auc_paper", "beta")


def _add_spread(root: Path, rows: list[dict[str, Any]], members: Sequence[Member]) -> None:
    """Mean and sample standard deviation over the trials of each group: its seeds, times its folds."""
    group_of = {member.name: member.group for member in members if member.group}
    groups: dict[str, list[Mapping[str, float | None]]] = {}
    for row in rows:
        if row["status"] == "complete":
            trials = _complete_at(root / row["name"]).trials
            groups.setdefault(group_of.get(row["name"], row["name"]), []).extend(trials)
    if all(len(trials) == 1 for trials in groups.values()):
        return
    for row in rows:
        reason = row.pop("reason")
        trials = [] if reason else groups[group_of.get(row["name"], row["name"])]
        row["trials"] = len(trials) or None
        for measure in _SPREAD:
            spread = _mean_and_deviation(trial[measure] for trial in trials)
            row[f"{measure}_mean"], row[f"{measure}_sd"] = spread
        row["reason"] = reason


def _measured(run: Run) -> dict[str, float | None]:
    """The figures of one trial, by the columns of the leaderboard; β is that of the run on any split."""
    figures = {one.split: one for one in stored_figures(run)}
    some = next(iter(figures.values()), None)
    found: dict[str, float | None] = {"beta": getattr(some, "beta", None)}
    for column in _SPREAD[:-1]:
        split, _, measure = column.partition("_")
        found[column] = getattr(figures.get(split), measure, None)
    return found


def _mean_and_deviation(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None
