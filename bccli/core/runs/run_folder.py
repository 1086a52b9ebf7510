"""The run folder: its marker run.json, its lock, and what decides between start, continue and done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli import __version__
from bccli.core.data.dataset import MARKER, first_difference, read_info
from bccli.core.errors import DataError, SettingsError
from bccli.core.files import file_hash, is_temporary, locked, read_json, sweep, write_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json
from bccli.core.runs.provenance import provenance

FORMAT = 1
RUNNING, COMPLETE, CLEARING = "running", "complete", "clearing"
STATE, ACTIVATIONS = "state.npz", ".activations"

# What run.json holds once the run is complete.
_NEEDED = (
    "backbone", "dataset", "protocol", "classes", "positive", "preparation", "data", "size",
    "train_accuracy", "val_accuracy", "leakage", "files",
)  # fmt: skip

_OF_A_SWEEP = ("files",)

# What a run folder may hold while it is not complete, besides its members' folders.
_OWN = (
    "model.keras", "model.tflite", "history.csv", "metrics.json", "predictions.csv", "seen.csv",
    "recipe.toml", "model.png", "log.txt", STATE, "plots", "tensorboard", ".cache",
    "leaderboard.csv", ".seconds", ACTIVATIONS, "patches.csv", "extractor.keras", "extractor.tflite",
    "fusion.npz", "fusion.keras", "classifier.npz", "words.npz", "joint.keras", "joint.tflite",
    "locators",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run on the disk; `info` is what run.json holds."""

    root: Path
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, as it is now."""
        return self.root.resolve().name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return tuple(self.info["classes"])

    @property
    def preparation(self) -> Preparation:
        """What a raw image goes through before the model sees it."""
        return preparation_from_json(self.info["preparation"])

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end."""
        return self.info["status"] == COMPLETE

    def part(self, name: str) -> Path:
        """A file of the run, checked against its hash. Raises DataError where it is missing or changed."""
        path = self.root / name
        if not path.is_file():
            if not self.info.get("network_kept", True):
                raise DataError(
                    f"{self.root}: its network was not kept, as another member of its sweep was better; "
                    "train it in a folder of its own, or the sweep with --save all"
                )
            raise DataError(f"{path}: is missing from the run; copy the whole folder again")
        if file_hash(path) != self.info["files"].get(name):
            raise DataError(f"{path}: has changed since the run was made; copy the whole folder again")
        return path


def load_run(root: Path) -> Run:
    """Read a complete run. Raises DataError where there is none, or one that is unfinished or too new."""
    if not (root / "run.json").is_file():
        if members := _members(root):
            raise DataError(f"{root}: holds several runs and is none itself; name one of them ({members})")
        what = "no such file or folder" if not root.exists() else "is not a run (it has no run.json)"
        raise DataError(f"{root}: {what}; name a folder that bccli train made")
    run = Run(root, _read_info(root))
    if run.info["kind"] == "sweep":
        raise DataError(f"{root}: is a sweep of several runs; name one of them ({_members(root)})")
    if not run.complete:
        raise DataError(f"{root}: the run is unfinished; run the same bccli train again")
    return run


def networks_of(run: Run) -> list[Run]:
    """The runs that hold the networks of a run: itself, or one for each of its folds."""
    return [load_run(run.root / name) for name in run.info.get("parts", [])] or [run]


def _members(root: Path) -> str:
    """The runs right below a folder, by name, the first five of them."""
    names = sorted(path.parent.name for path in root.glob("*/run.json"))
    return ", ".join(names[:5] + ["…"] * (len(names) > 5))


def _read_info(root: Path) -> dict[str, Any]:
    remedy = "copy the whole folder again"
    info = read_info(root / "run.json", FORMAT, ("kind", "status", "settings"), remedy)
    needed = _OF_A_SWEEP if info["kind"] == "sweep" else _NEEDED
    return read_info(root / "run.json", FORMAT, needed if info["status"] == COMPLETE else (), remedy)


@contextmanager
def open_run(
    root: Path,
    kind: str,
    settings: dict[str, Any],
    *,
    overwrite: bool = False,
    extendable: bool = True,
) -> Iterator[Run | None]:
    """Start or continue the run `root` under its lock; None where all is done already.

    Settings are the same when they agree in all but `epochs`, which may grow where a run is `extendable`.
    Raises SettingsError naming the first difference, DataError for a folder that holds something else,
    LockedError.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is not a folder; name another place for the run")
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        if _is_done(root, settings, overwrite, extendable):
            yield None
            return
        sweep(root)
        sweep(root / "plots")
        info = {
            "format": FORMAT,
            "tool": MARKER,
            "version": __version__,
            "kind": kind,
            "status": RUNNING,
            "settings": settings,
        }
        write_json(root / "run.json", info)
        yield Run(root, info)


def _is_done(root: Path, settings: dict[str, Any], overwrite: bool, extendable: bool) -> bool:
    """Whether the run is complete with these settings; clears the folder where it is to be replaced."""
    if not (root / "run.json").exists():
        own = (".lock", *_OWN)
        strangers = [path.name for path in root.iterdir() if path.name not in own and not is_temporary(path)]
        if strangers:
            raise DataError(f"{root}: is not empty and holds no run ({strangers[0]}); choose another folder")
        return False
    info = _read_info(root)
    complete = info["status"] == COMPLETE
    if info["status"] == CLEARING or (complete and overwrite):
        clear(root)
        return False
    longer = extendable and settings.get("epochs", 0) > info["settings"].get("epochs", 0)
    ignored = {"epochs": settings.get("epochs")} if longer else {}
    if difference := first_difference({**info["settings"], **ignored}, settings):
        if not complete and _holds_nothing(root):
            return False
        advice = "pass --overwrite" if complete else "it is unfinished, remove it"
        raise SettingsError(f"{root}: was trained with {difference}; {advice} or choose another folder")
    return complete and not longer


def _holds_nothing(root: Path) -> bool:
    """Whether a run ended before its first result, so that other settings lose nothing."""
    return not any((root / name).exists() for name in (STATE, "history.csv")) and not any(
        root.glob("*/run.json")
    )


def clear(root: Path) -> None:
    """Remove what bccli wrote in a run; what others put there stays.

    The marker says so first and goes last: whoever opens a half-cleared run clears the rest.
    """
    write_json(root / "run.json", {**read_json(root / "run.json"), "status": CLEARING})
    members = [path.parent for path in root.glob("*/run.json")]
    for member in members:
        clear(member)
    for path in [root / name for name in _OWN] + members:
        if path.is_dir():
            shutil.rmtree(path) if path not in members else _remove_if_empty(path)
        else:
            path.unlink(missing_ok=True)
    (root / "run.json").unlink()


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def complete_run(run: Run, facts: dict[str, Any]) -> Run:
    """Write run.json for the last time: the facts, where and with what it ran, the hash of every file.

    Runs inside this one know their own files.
    """
    inner = {path.parent for path in run.root.glob("*/run.json")}
    hashed = {
        str(path.relative_to(run.root)): file_hash(path)
        for path in sorted(run.root.rglob("*"))
        if path.is_file()
        and inner.isdisjoint(path.parents)
        and not any(part.startswith(".") for part in path.relative_to(run.root).parts)
        and path.name not in ("run.json", "log.txt")
    }
    info = {**run.info, **facts, "status": COMPLETE, **provenance(), "files": hashed}
    write_json(run.root / "run.json", info)
    return Run(run.root, info)


def reopen(run: Run) -> None:
    """Let the same command go on with a complete run, from its state."""
    for part in [*networks_of(run), run]:
        write_json(part.root / "run.json", {**part.info, "status": RUNNING})
