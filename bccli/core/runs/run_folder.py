"""The run folder: its marker run.json, its lock, and what decides between start, continue and done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli import __version__
from bccli.core.data.dataset import CACHE_FOLDER, first_difference
from bccli.core.errors import DataError, SettingsError
from bccli.core.files import file_hash, is_temporary, read_json, sweep, write_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json
from bccli.core.runs.locks import locked
from bccli.core.runs.provenance import provenance
from bccli.core.runs.run_info import CLEARING, COMPLETE, RUNNING, SWEEP, RunInfo
from bccli.core.runs.starts import counted, progressed

RUN_FILE = "run.json"
MODEL_FILE, TFLITE_FILE, DIAGRAM_FILE = "model.keras", "model.tflite", "model.png"
HISTORY_FILE, METRICS_FILE, PREDICTIONS_FILE = "history.csv", "metrics.json", "predictions.csv"
TRAINING_IMAGES_FILE, RECIPE_FILE, LOG_FILE = "seen.csv", "recipe.toml", "log.txt"
STATE_FILE, ACTIVATIONS_FOLDER = "state.npz", ".activations"
PLOTS_FOLDER, TENSORBOARD_FOLDER = "plots", "tensorboard"
PATCHES_FILE, FUSION_FILE, FUSION_MODEL_FILE = "patches.csv", "fusion.npz", "fusion.keras"
EXTRACTOR_FILE, EXTRACTOR_TFLITE_FILE = "extractor.keras", "extractor.tflite"
CLASSIFIER_FILE, VOCABULARY_FILE = "classifier.npz", "words.npz"
JOINT_FILE, JOINT_TFLITE_FILE, LOCATORS_FOLDER = "joint.keras", "joint.tflite", "locators"
LEADERBOARD_FILE, SECONDS_FILE, STARTS_FILE = "leaderboard.csv", ".seconds", ".starts"

NETWORK_FILES = (
    MODEL_FILE, TFLITE_FILE, EXTRACTOR_FILE, EXTRACTOR_TFLITE_FILE, FUSION_FILE, FUSION_MODEL_FILE,
    CLASSIFIER_FILE, VOCABULARY_FILE,
)  # fmt: skip
"""What a run needs to answer for images, but not for its figures."""

_OWN = (
    *NETWORK_FILES, DIAGRAM_FILE, HISTORY_FILE, METRICS_FILE, PREDICTIONS_FILE, TRAINING_IMAGES_FILE,
    RECIPE_FILE, LOG_FILE, STATE_FILE, ACTIVATIONS_FOLDER, PLOTS_FOLDER, TENSORBOARD_FOLDER, CACHE_FOLDER,
    PATCHES_FILE, JOINT_FILE, JOINT_TFLITE_FILE, LOCATORS_FOLDER, LEADERBOARD_FILE, SECONDS_FILE,
    STARTS_FILE,
)  # fmt: skip
"""What a run folder may hold besides run.json and its members' folders."""


@dataclass(frozen=True)
class Run:
    """A run on the disk; `info` is what run.json holds."""

    root: Path
    info: RunInfo

    @property
    def name(self) -> str:
        """The folder's name, as it is now."""
        return self.root.resolve().name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.info.classes

    @property
    def preparation(self) -> Preparation:
        """What a raw image goes through before the model sees it."""
        return preparation_from_json(self.info.preparation)

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end."""
        return self.info.status == COMPLETE

    def with_facts(self, /, **facts: Any) -> "Run":
        """The same run with some facts of its run.json, as JSON has them, changed or added."""
        return Run(self.root, self.info.with_facts(**facts))

    def write_info(self) -> None:
        """Write run.json."""
        self.info.write(self.root / RUN_FILE)

    def file(self, name: str) -> Path:
        """A file of the run, checked against its hash. Raises DataError where it is missing or changed."""
        path = self.root / name
        if not path.is_file():
            if not self.info.network_kept:
                raise DataError(
                    f"{self.root}: its network was not kept, as another member of its sweep was better; "
                    "train it in a folder of its own, or the sweep with --save all"
                )
            raise DataError(f"{path}: is missing from the run; copy the whole folder again")
        if file_hash(path) != self.info.files.get(name):
            raise DataError(f"{path}: has changed since the run was made; copy the whole folder again")
        return path


def load_run(root: Path) -> Run:
    """Read a complete run. Raises DataError for none, an unfinished one, or one of another format."""
    if not (root / RUN_FILE).is_file():
        if members := _members(root):
            raise DataError(f"{root}: holds several runs and is none itself; name one of them ({members})")
        what = "no such file or folder" if not root.exists() else "is not a run (it has no run.json)"
        raise DataError(f"{root}: {what}; name a folder that bccli train made")
    run = Run(root, RunInfo.read(root / RUN_FILE))
    if run.info.kind == SWEEP:
        raise DataError(f"{root}: is a sweep of several runs; name one of them ({_members(root)})")
    if not run.complete:
        raise DataError(f"{root}: the run is unfinished; run the same bccli train again")
    return run


def is_sweep(root: Path) -> bool:
    """Whether a folder holds a sweep, to which one more member can be added."""
    try:
        return bool(read_json(root / RUN_FILE).get("kind") == SWEEP)
    except (DataError, AttributeError, OSError):
        return False  # whoever opens it says what is wrong


def networks_of(run: Run) -> list[Run]:
    """The runs that hold the networks of a run: itself, or one for each of its folds."""
    return [load_run(run.root / name) for name in run.info.parts] or [run]


def _members(root: Path) -> str:
    """The runs right below a folder, by name, the first five of them."""
    names = sorted(path.parent.name for path in root.glob(f"*/{RUN_FILE}"))
    return ", ".join(names[:5] + ["…"] * (len(names) > 5))


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
    LockedError, NoProgressError.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is not a folder; name another folder for the run")
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        if _is_done(root, settings, overwrite, extendable):
            yield None
            return
        sweep(root)
        sweep(root / PLOTS_FOLDER)
        run = Run(root, RunInfo.of(version=__version__, kind=kind, status=RUNNING, settings=settings))
        run.write_info()
        with counted(root / STARTS_FILE, root):
            yield run


def _is_done(root: Path, settings: dict[str, Any], overwrite: bool, extendable: bool) -> bool:
    """Whether the run is complete with these settings; clears the folder where it is to be replaced."""
    if not (root / RUN_FILE).exists():
        own = (".lock", *_OWN)
        strangers = [path.name for path in root.iterdir() if path.name not in own and not is_temporary(path)]
        if strangers:
            raise DataError(f"{root}: is not empty and holds no run ({strangers[0]}); choose another folder")
        return False
    info = RunInfo.read(root / RUN_FILE)
    complete = info.status == COMPLETE
    if info.status == CLEARING or (complete and overwrite):
        clear(root)
        return False
    longer = extendable and settings.get("epochs", 0) > info.settings.get("epochs", 0)
    ignored = {"epochs": settings.get("epochs")} if longer else {}
    if difference := first_difference({**info.settings, **ignored}, settings):
        if not complete and _holds_nothing(root):
            return False
        advice = "pass --overwrite" if complete else "it is unfinished, remove it"
        raise SettingsError(f"{root}: was trained with {difference}; {advice} or choose another folder")
    return complete and not longer


def _holds_nothing(root: Path) -> bool:
    """Whether a run ended before its first result, so that other settings lose nothing."""
    return not any((root / name).exists() for name in (STATE_FILE, HISTORY_FILE)) and not any(
        root.glob(f"*/{RUN_FILE}")
    )


def clear(root: Path) -> None:
    """Remove what bccli wrote in a run; what others put there stays.

    The marker says so first and goes last: whoever opens a half-cleared run clears the rest.
    """
    write_json(root / RUN_FILE, {**read_json(root / RUN_FILE), "status": CLEARING})
    members = [path.parent for path in root.glob(f"*/{RUN_FILE}")]
    for member in members:
        clear(member)
    for path in [root / name for name in _OWN] + members:
        if path.is_dir():
            shutil.rmtree(path) if path not in members else _remove_if_empty(path)
        else:
            path.unlink(missing_ok=True)
    (root / RUN_FILE).unlink()


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def complete_run(run: Run, facts: dict[str, Any]) -> Run:
    """Write run.json for the last time: the facts, where and with what it ran, the hash of every file.

    Runs inside this one know their own files.
    """
    inner = {path.parent for path in run.root.glob(f"*/{RUN_FILE}")}
    hashed = {
        str(path.relative_to(run.root)): file_hash(path)
        for path in sorted(run.root.rglob("*"))
        if path.is_file()
        and inner.isdisjoint(path.parents)
        and not any(name.startswith(".") for name in path.relative_to(run.root).parts)
        and path.name not in (RUN_FILE, LOG_FILE)
    }
    complete = run.with_facts(**{**facts, "status": COMPLETE, **provenance(), "files": hashed})
    complete.write_info()
    progressed()
    return complete


def reopen(run: Run) -> None:
    """Let the same command go on with a complete run, from its state."""
    for member in [*networks_of(run), run]:
        member.with_facts(status=RUNNING).write_info()
