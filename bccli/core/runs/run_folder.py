"""The run folder: its marker run.json, its lock, and what decides between start, continue and done."""

import hashlib
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli import __version__
from bccli.core.data.dataset import CACHE_FOLDER, DATASET_FILE, first_difference
from bccli.core.errors import DataError, SettingsError
from bccli.core.files import file_hash, inside, is_temporary, replacing, sweep, write_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json
from bccli.core.reading.texts import read_json
from bccli.core.runs.claims import Claims
from bccli.core.runs.locks import locked
from bccli.core.runs.provenance import provenance
from bccli.core.runs.run_info import CLEARING, COMPLETE, FOLDS, RUNNING, SWEEP, RunInfo
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
UNLIKE_FILE = "unlike.npz"
HEAD_FILE, HEAD_MODEL_FILE = "head.npz", "head.keras"
DETECTOR_FILE, DETECTOR_TFLITE_FILE = "detector.keras", "detector.tflite"
BOXES_FILE, LESIONS_FILE, FILMS_FILE = "boxes.csv", "lesions.csv", "films.csv"
BACKBONE_FOLDER = "backbone"
LEADERBOARD_FILE, SECONDS_FILE, STARTS_FILE = "leaderboard.csv", ".seconds", ".starts"
CLAIMS_FOLDER = ".claims"
MOST_JOINED = 16
"""So many backbones may be joined."""


def card_file(number: int | None = None) -> str:
    """The card of a run's backbone, or of one of those that are joined."""
    return f"{BACKBONE_FOLDER}.toml" if number is None else f"{BACKBONE_FOLDER}-{number}.toml"


def extractor_stem(number: int | None = None) -> str:
    """The extractor of a run, or one of those that are joined, without its ending."""
    return EXTRACTOR if number is None else f"{EXTRACTOR}-{number}"


EXTRACTOR = "extractor"
"""The model of a run that makes features (n, width) of prepared images."""

_OF_JOINED = tuple(
    f"{extractor_stem(number)}.{ending}" for number in range(MOST_JOINED) for ending in ("keras", "tflite")
)

NETWORK_FILES = (
    MODEL_FILE, TFLITE_FILE, EXTRACTOR_FILE, EXTRACTOR_TFLITE_FILE, FUSION_FILE, FUSION_MODEL_FILE,
    CLASSIFIER_FILE, VOCABULARY_FILE, JOINT_FILE, JOINT_TFLITE_FILE, LOCATORS_FOLDER, HEAD_FILE,
    HEAD_MODEL_FILE, BACKBONE_FOLDER, DETECTOR_FILE, DETECTOR_TFLITE_FILE, *_OF_JOINED,
)  # fmt: skip
"""What a run needs to answer for images, but not for its figures."""

_OWN = (
    *NETWORK_FILES, DIAGRAM_FILE, HISTORY_FILE, METRICS_FILE, PREDICTIONS_FILE, TRAINING_IMAGES_FILE,
    RECIPE_FILE, LOG_FILE, STATE_FILE, ACTIVATIONS_FOLDER, PLOTS_FOLDER, TENSORBOARD_FOLDER, CACHE_FOLDER,
    PATCHES_FILE, BOXES_FILE, LESIONS_FILE, FILMS_FILE, LEADERBOARD_FILE, SECONDS_FILE, STARTS_FILE,
    CLAIMS_FOLDER, UNLIKE_FILE, card_file(), *map(card_file, range(MOST_JOINED)),
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
        path = inside(self.root, name)
        if not path.is_file():
            if not self.info.network_kept:
                raise DataError(
                    f"{self.root}: its network was not kept, as another member of its sweep was better; "
                    "train it in a folder of its own, or the sweep with --save all"
                )
            raise DataError(f"{path}: is missing from the run; copy the whole folder again")
        if file_hash(path) not in (self.info.files.get(name), self.info.coming.get(name)):
            raise DataError(f"{path}: has changed since the run was made; copy the whole folder again")
        return path


def load_run(root: Path) -> Run:
    """Read a complete run. Raises DataError for none, an unfinished one, or one of another format."""
    if not (root / RUN_FILE).is_file():
        if members := _members(root):
            raise DataError(f"{root}: holds several runs and is none itself; name one of them ({members})")
        what = "no such file or folder" if not root.exists() else "is not a run (it has no run.json)"
        if (root / DATASET_FILE).exists():
            what = "is a prepared dataset, not a run"
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


def folds_of(run: Run) -> list[Run]:
    """The runs of the folds of a run of kind folds; of another kind, itself."""
    return parts_of(run) if run.info.kind == FOLDS else [run]


def parts_of(run: Run) -> list[Run]:
    """The runs that a run of folds or of a tree consists of, which lie in its folder."""
    return [part_of(run, name) for name in run.info.parts]


def part_of(run: Run, name: str) -> Run:
    """The run `name` in the folder of another. Raises DataError where it would lie elsewhere."""
    return load_run(inside(run.root, f"{name}/{RUN_FILE}").parent)


def run_of_fold(run: Run, fold: int) -> Run:
    """The run of one fold; a run that is not of kind folds, itself. Raises DataError for a fold too many."""
    folds = folds_of(run)
    if run.info.kind != FOLDS:
        return run
    if fold >= len(folds):
        raise DataError(f"{run.root}: has {len(folds)} folds, and fold {fold} is asked for; count from 0")
    return folds[fold]


def networks_of(run: Run) -> list[Run]:
    """The runs that hold the networks of a run: itself, or those of its folds or nodes."""
    return [network for member in parts_of(run) for network in networks_of(member)] or [run]


def runs_within(run: Run) -> list[Run]:
    """A run and all that lie in it: those of folds, of nodes, and of their first stages."""
    below = [load_run(path.parent) for path in sorted(run.root.glob(f"[!.]*/{RUN_FILE}"))]
    return [run, *(inner for member in below for inner in runs_within(member))]


def network_hash(run: Run) -> str:
    """The SHA-256 of a run's network, 64 hexadecimal digits, or of the networks of all its folds.

    Raises DataError where a file is missing or has changed.
    """
    files = {fold.root: HEAD_FILE if HEAD_FILE in fold.info.files else MODEL_FILE for fold in folds_of(run)}
    hashes = [file_hash(fold.file(files[fold.root])) for fold in folds_of(run)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if run.info.kind == FOLDS else hashes[0]


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
    members: Collection[str] = (),
    shard: str = "",
) -> Iterator[Run | None]:
    """Start or continue the run `root` under its lock; None where all is done already.

    Settings are the same when they agree in all but `epochs`, which may grow where a run is `extendable`.
    Runs that lie in it under the names of `members` become its own. A `shard`, such as 2/8, has made sure
    that nobody else works in it. Raises SettingsError naming the first difference, DataError for a folder
    that holds something else, LockedError, NoProgressError.
    """
    with _held(root, shard):
        if not shard:
            Claims(root / CLAIMS_FOLDER).wait_until_free(root)
        if _is_done(root, settings, overwrite, extendable, members):
            _tidy(root)
            yield None
            return
        run = _begin(root, kind, settings)
        with counted(root / STARTS_FILE, root):
            yield run


def join_run(
    root: Path,
    kind: str,
    settings: dict[str, Any],
    *,
    extendable: bool = True,
    members: Collection[str] = (),
    shard: str,
    reopened: bool = False,
) -> bool:
    """Start the run `root` or join those who have started it, as one `shard` of them; whether it is done.

    A complete one is not done where it is `reopened`. Raises what `open_run` raises.
    """
    with _held(root, shard):
        done = _is_done(root, settings, False, extendable, members)
        run = Run(root, RunInfo.read(root / RUN_FILE)) if (root / RUN_FILE).exists() else None
        known = run is not None and not first_difference(run.info.settings, settings)
        if run and known and not (run.complete and reopened):
            if run.complete:
                _tidy(root)
            return run.complete
        Claims(root / CLAIMS_FOLDER).wait_until_free(root)
        remove_files(root, [CLAIMS_FOLDER])
        if run and done:
            run.with_facts(status=RUNNING).write_info()
        else:
            _begin(root, kind, settings)
        return False


def follow_run(
    root: Path, kind: str, settings: dict[str, Any], *, overwrite: bool = False, extendable: bool = True
) -> Run | None:
    """The run `root` for a process that helps another one, which has it open or is about to.

    Nothing is locked or written. None where all is done already. Raises SettingsError.
    """
    if (root / RUN_FILE).exists() and not overwrite:
        info = RunInfo.read(root / RUN_FILE)
        if info.status != CLEARING and _fits(root, info, settings, extendable):
            return None
    return Run(root, RunInfo.of(version=__version__, kind=kind, status=RUNNING, settings=settings))


def _tidy(root: Path) -> None:
    """Remove from a complete run what those who were killed as they ended have left."""
    Claims(root / CLAIMS_FOLDER).clear()
    with suppress(OSError):  # in a folder that is read-only
        if not (root / CLAIMS_FOLDER).exists():
            remove_files(root, [STARTS_FILE])


@contextmanager
def _held(root: Path, shard: str) -> Iterator[None]:
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is not a folder; name another folder for the run")
    root.mkdir(parents=True, exist_ok=True)
    with locked(root, shard=shard):
        yield


def _begin(root: Path, kind: str, settings: dict[str, Any]) -> Run:
    sweep(root)
    sweep(root / PLOTS_FOLDER)
    run = Run(root, RunInfo.of(version=__version__, kind=kind, status=RUNNING, settings=settings))
    run.write_info()
    return run


def _is_done(
    root: Path, settings: dict[str, Any], overwrite: bool, extendable: bool, members: Collection[str]
) -> bool:
    """Whether the run is complete with these settings; clears the folder where it is to be replaced."""
    if not (root / RUN_FILE).exists():
        if stranger := _stranger(root, members):
            raise DataError(f"{root}: is not empty and holds no run ({stranger}); choose another folder")
        return False
    info = RunInfo.read(root / RUN_FILE)
    if info.status == CLEARING or (info.status == COMPLETE and overwrite):
        clear(root)
        return False
    return _fits(root, info, settings, extendable)


def _fits(root: Path, info: RunInfo, settings: dict[str, Any], extendable: bool) -> bool:
    """Whether a run is complete with these settings. Raises SettingsError where it has others."""
    complete = info.status == COMPLETE
    longer = extendable and settings.get("epochs", 0) > info.settings.get("epochs", 0)
    ignored = {"epochs": settings.get("epochs")} if longer else {}
    if difference := first_difference({**info.settings, **ignored}, settings):
        if not complete and _holds_nothing(root):
            return False
        advice = "pass --overwrite" if complete else "it is unfinished, remove it"
        raise SettingsError(f"{root}: was trained with {difference}; {advice} or choose another folder")
    return complete and not longer


def _stranger(root: Path, members: Collection[str]) -> str:
    """What lies in a folder without run.json and is neither a run's file nor a run of one of its members."""
    for path in sorted(root.iterdir()):
        own = path.name in (".lock", *_OWN) or is_temporary(path)
        if not own and not (path.name in members and (path / RUN_FILE).is_file()):
            return path.name
    return ""


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
    remove_files(root, _OWN)
    for member in members:
        _remove_if_empty(member)
    (root / RUN_FILE).unlink()


def remove_files(root: Path, names: Iterable[str]) -> None:
    """Remove files and folders of a run, if they are there."""
    for path in (root / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def complete_run(run: Run, facts: dict[str, Any]) -> Run:
    """Write run.json for the last time: the facts, where and with what it ran, the hash of every file.

    Runs inside this one know their own files. What was learned of the features of an earlier network goes
    with it where a run was trained further.
    """
    (run.root / UNLIKE_FILE).unlink(missing_ok=True)
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
    claims = Claims(run.root / CLAIMS_FOLDER)
    if not any(sign.holder is None or not sign.holder.is_this() for sign in claims.living()):
        shutil.rmtree(claims.folder, ignore_errors=True)  # somebody may be looking at it
    progressed()
    return complete


def replace_file(run: Run, name: str, content: str | bytes, **facts: Any) -> None:
    """Replace a file of a complete run and change facts of run.json, which knows the file at each moment."""
    data = content.encode() if isinstance(content, str) else content
    digest = hashlib.sha256(data).hexdigest()
    with replacing(run.root / name) as stream:
        stream.write(data)
        run.with_facts(coming={name: digest}).write_info()
    settled = {key: fact for key, fact in run.info.facts().items() if key != "coming"}
    facts = {**settled, **facts, "files": {**run.info.files, name: digest}}
    Run(run.root, RunInfo.of(**facts)).write_info()


def reopen(run: Run) -> None:
    """Let the same command go on with a complete run, and with those in it whose networks were not kept.

    The run itself comes first, so that one that is not complete is never in one that is.
    """
    for member in [run, *(inner for inner in runs_within(run)[1:] if not inner.info.network_kept)]:
        member.with_facts(status=RUNNING).write_info()
