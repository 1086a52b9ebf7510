"""Several runs in one folder, made one after the other, and the table that compares them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core.errors import BccliError, LeakageError, LockedError, UsageError
from bccli.core.files import read_json
from bccli.core.results import stored_figures, write_table
from bccli.core.runs import Run, complete_run, load_run, open_run
from bccli.core.watching import SILENT, Watcher

LEADERBOARD = "leaderboard.csv"
_TIMES = ".seconds"

# What ends a sweep as a whole, since no member would fare better.
_FOR_ALL = (LeakageError, LockedError, UsageError)


@dataclass(frozen=True)
class Member:
    """One run of a sweep: the name of its folder, what tells it from the others, and how to make it."""

    name: str
    facts: dict[str, Any]
    make: Callable[[Path], Run]


@dataclass(frozen=True)
class Sweep:
    """A sweep that has come to its end: its table, best first, and how many members failed."""

    root: Path
    rows: list[dict[str, Any]]
    failed: int


def run_sweep(
    root: Path,
    members: Sequence[Member],
    settings: dict[str, Any],
    *,
    reject_overfit: bool = False,
    overwrite: bool = False,
    watcher: Watcher = SILENT,
) -> Sweep:
    """Make or continue each member in `root/NAME` and write leaderboard.csv.

    A member that fails is a row with its reason, and the others go on. Members of an earlier call stay in
    the table. Raises what is no member's own fault, and Stopped after a signal.
    """
    with open_run(root, "sweep", settings, overwrite=overwrite) as run:
        run = run or Run(root, read_json(root / "run.json"))
        reasons: dict[str, str] = {}
        for number, member in enumerate(members, 1):
            watcher.note(f"{member.name} ({number} of {len(members)})")
            began = time.monotonic()
            try:
                made = member.make(root / member.name)
            except _FOR_ALL:
                raise
            except BccliError as error:
                reasons[member.name] = str(error)
                watcher.warn(f"{member.name} failed: {error}")
                continue
            _note_time(made, time.monotonic() - began)
        rows = leaderboard(root, members, reasons, reject_overfit=reject_overfit)
        write_table(root / LEADERBOARD, rows)
        names = sorted(path.parent.name for path in root.glob("*/run.json"))
        complete_run(run, {"members": names})
    return Sweep(root, rows, len(reasons))


def _note_time(run: Run, seconds: float) -> None:
    """How long a run took, kept from when it was made: a later call only recognises it."""
    path = run.root / _TIMES
    if not path.exists():
        path.write_text(f"{seconds:.1f}", encoding="ascii")


def leaderboard(
    root: Path, members: Sequence[Member], reasons: dict[str, str], *, reject_overfit: bool
) -> list[dict[str, Any]]:
    """A row per member, by its figures on val, never on test: best accuracy first, then least loss.

    `chosen` is the first one. With `reject_overfit`, those that overfit cannot be chosen and come after the
    others; those that failed come last.
    """
    facts = {member.name: member.facts for member in members}
    names = dict.fromkeys([*facts, *sorted(path.parent.name for path in root.glob("*/run.json"))])
    keys = list(dict.fromkeys(key for known in facts.values() for key in known))
    rows = [_row(root / name, facts.get(name), keys, reasons.get(name, "")) for name in names]
    rows.sort(key=lambda row: _rank(row, reject_overfit=reject_overfit))
    for place, row in enumerate(rows):
        row["chosen"] = place == 0 and _rank(row, reject_overfit=reject_overfit)[0] == 0
    return rows


def _rank(row: dict[str, Any], *, reject_overfit: bool) -> tuple[float, float, float]:
    group = 2 if row["status"] != "complete" else int(reject_overfit and row["overfit"] is True)
    best, loss = row["val_accuracy"], row["val_loss"]
    return group, -(best if best is not None else -1.0), loss if loss is not None else float("inf")


def _row(root: Path, facts: dict[str, Any] | None, keys: Sequence[str], reason: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": root.name, "chosen": False, "status": "failed" if reason else "complete"}
    row |= {key: (facts or {}).get(key) for key in keys}
    figures: dict[str | None, Any] = {}
    info: dict[str, Any] = {}
    if not reason:
        run = load_run(root)
        info, figures = run.info, {one.split: one for one in stored_figures(run)}
    for split, names in (("val", _ON_VAL), ("test", _ON_TEST)):
        row |= {f"{split}_{name}": getattr(figures.get(split), name, None) for name in names}
    known = figures.get("test") or figures.get("val")
    row |= {name: getattr(known, name, None) for name in _OVERFITTING}
    row |= {name: info.get(name) for name in ("protocol", "parameters", "kept_epoch", "epochs_trained")}
    seconds = root / _TIMES
    row["seconds"] = float(seconds.read_text("ascii")) if seconds.is_file() else None
    return row | {"reason": reason}


_ON_VAL = ("roc_auc", "f1", "accuracy", "loss")
_ON_TEST = ("roc_auc", "auc_paper", "f1", "accuracy", "majority_accuracy", "n", "patients")
_OVERFITTING = ("train_accuracy", "beta", "beta_paper", "overfit", "overfit_paper")
