"""Sweeps, folds and trees by several tasks that share a folder: `--shard I/N` of what trains."""

import csv
import io
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from bccli.core.data.dataset import load_dataset
from bccli.core.errors import TrainingError
from bccli.core.runs.claims import Claims
from bccli.core.runs.run_folder import CLAIMS_FOLDER, STARTS_FILE, join_run
from bccli.core.runs.run_info import RunInfo
from bccli.core.sweeps import sharing
from bccli.core.training import network
from tests.commands.test_folds import COMMANDS, FROZEN, TREE, Place, command, fill
from tests.conftest import Bccli, read_rows, tree
from tests.library import Library, bccli_in
from tests.sentences import refused

QUICK = *FROZEN[:-4], "--epochs", 1, "--lr", 0.01
ALL, ONE = ("--fold", "all"), ("--shard", "1/2")
TWO_CLASSIFIERS = "--classifier", "svm", "--classifier", "logistic"
SWEEPS = {
    "grid": ("train", "data", "OUT", *QUICK, "--seeds", 2, *ALL),
    "classifiers": ("train", "data", "OUT", *FROZEN[:-4], *TWO_CLASSIFIERS, *ALL),
    "layers": ("finetune", "run", "OUT", "--from-layer", 30, "--from-layer", 34, "--epochs", 1, *ALL),
    "trees": ("hierarchy", "data", "OUT", *QUICK, *TREE, "--seeds", 2, *ALL),
}  # fmt: skip
UNITS = {"run": 3, "tuned": 3, "tree": 6, "fused": 3, "grid": 6, "classifiers": 6, "layers": 6, "trees": 12}
MARKS = {"run": (), "grid": (), "tree": (pytest.mark.slow,), "layers": (pytest.mark.slow,)}
WAYS = [pytest.param(name, marks=MARKS.get(name, (pytest.mark.full,))) for name in UNITS]


@pytest.fixture
def place(library: Library) -> Place:
    """Finds datasets, and runs and sweeps that one process has made; nobody changes them."""

    def find(name: str) -> Path:
        if name not in {**COMMANDS, **SWEEPS}:
            return library.folder("folds", fill) / name
        shelf = f"folds-{name}" if name in COMMANDS else f"arrays-{name}"
        return library.folder(shelf, lambda folder: bccli_in(*words_of(find, name, folder / name))) / name

    return find


def words_of(place: Place, name: str, out: Path) -> tuple[object, ...]:
    """The words of `bccli` that make a whole."""
    if name in COMMANDS:
        return command(place, name, out)
    first, source, _, *options = SWEEPS[name]
    return first, place(str(source)), out, *options


def results(root: Path) -> dict[str, Any]:
    """What lies in a whole: all tables and figures, but for the times that they took and where things lie."""
    found: dict[str, Any] = {}
    for name, content in tree(root).items():
        if name.endswith("leaderboard.csv"):
            rows = csv.DictReader(io.StringIO(content.decode()))
            found[name] = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        elif name.endswith((".csv", "metrics.json")):
            found[name] = content
        else:
            found[name] = None
    return found


def at_work(root: Path, name: str) -> Any:
    """A claim of a living task; it ends with the block."""
    return Claims(root / CLAIMS_FOLDER, "1/2").taken(name)


@pytest.mark.parametrize("name", WAYS)
def test_one_task_alone_makes_all_that_the_others_do_not(
    bccli: Bccli, place: Place, tmp_path: Path, name: str
) -> None:
    out, whole = tmp_path / name, place(name)
    told = bccli(*words_of(place, name, out), "--shard", "2/4")
    assert results(out) == results(whole)
    made = [line for line in told.stderr.splitlines() if line.startswith("shard 2/4: ")]
    assert len(made) == len(set(made)) == UNITS[name]
    assert not (out / CLAIMS_FOLDER).exists()
    again = bccli(*words_of(place, name, out))
    assert "nothing to do" in again.stderr
    assert results(out) == results(whole)


@pytest.mark.parametrize(
    "name",
    ["run", pytest.param("grid", marks=pytest.mark.slow), pytest.param("trees", marks=pytest.mark.full)],
)
def test_who_ends_before_the_others_prints_nothing_and_the_last_one_all(
    bccli: Bccli, place: Place, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run of another task is in its hands while we end; afterwards nobody has it."""
    out, words = tmp_path / name, words_of(place, name, tmp_path / name)
    first = {"run": "fold-2", "grid": "cnn-15-seed1/fold-1", "trees": "tree-seed0/fold-0/tumor"}[name]
    join = join_run

    def join_beside(root: Path, *args: Any, **options: Any) -> bool:
        done = join(root, *args, **options)
        if root == out:
            stack.append(at_work(root, first))
            stack[-1].__enter__()
        return done

    stack: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(sharing, "join_run", join_beside)
        told = bccli(*words, "--shard", "2/2")
    assert told.stdout == ""
    assert f"{out} still needs {first}, by process" in told.stderr.replace("\n", " ")
    assert not (out / first / "run.json").exists()
    told = refused(bccli(*words, exit=3))
    assert "shard 1/2" in told
    assert "is working here" in told
    stack[-1].__exit__(None, None, None)
    told = bccli(*words, "--shard", "1/2")
    assert told.stdout
    assert results(out) == results(place(name))


def test_a_later_command_without_a_shard_collects(
    bccli: Bccli, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody finishes an array whose last task is killed when all is made."""
    out = tmp_path / "run"
    words = words_of(place, "run", out)
    with monkeypatch.context() as patch:
        patch.setattr(Claims, "taken", not_to_finish(Claims.taken))
        assert bccli(*words, "--shard", "1/2").stdout == ""
    assert RunInfo.read(out / "run.json").status == "running"
    assert not (out / "predictions.csv").exists()
    assert bccli(*words).stdout.startswith("name,kind,")
    assert results(out) == results(place("run"))


def not_to_finish(taken: Callable[..., Any]) -> Callable[..., Any]:
    """Claims where somebody else has the last one."""

    def instead(claims: Claims, name: str) -> Any:
        if name != sharing.FINISH:
            return taken(claims, name)
        return nullcontext(False)

    return instead


@pytest.mark.slow
def test_a_member_that_fails_is_a_row_and_is_tried_again_by_the_next_command(
    bccli: Bccli, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "grid"
    words = words_of(place, "grid", out)
    train = network.train_network

    def fail(job: Any, run: Any, *args: Any) -> Any:
        if run.root == out / "cnn-15-seed1" / "fold-1":
            raise TrainingError("the dice say no")
        return train(job, run, *args)

    with monkeypatch.context() as patch:
        patch.setattr(network, "train_network", fail)
        told = bccli(*words, "--shard", "1/2", exit=4)
    (failed,) = [row for row in read_rows(out / "leaderboard.csv") if row["status"] == "failed"]
    assert (failed["name"], failed["reason"]) == ("cnn-15-seed1", "the dice say no")
    assert told.stderr.count("the dice say no") == 2
    bccli(*words)
    assert results(out) == results(place("grid"))


def test_other_settings_are_refused_before_anything_is_made(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = words_of(place, "run", out)
    bccli(*words[:3], *words[3:], "--shard", "1/2")
    other = bccli(*words[:3], *words[3:], "--dropout", 0.3, "--shard", "2/2", exit=3)
    assert "dropout" in refused(other)
    assert results(out) == results(place("run"))


@pytest.mark.slow
def test_two_arrays_add_members_to_one_sweep(
    bccli: Bccli,
    bccli_process: Callable[..., subprocess.CompletedProcess[str]],
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second has made its members, and completes the sweep, while the first is at work on its own."""
    out = tmp_path / "grid"
    words = words_of(place, "grid", out)
    train, within = network.train_network, []

    def beside(job: Any, run: Any, *args: Any) -> Any:
        if not within:
            within.append(run.root)
            told = bccli_process(*words, "--seeds", 1, "--seed", 5, "--shard", "1/2")
            assert told.returncode == 4, told.stderr  # what is not complete is a row that says so
            assert RunInfo.read(out / "run.json").status == "complete"
        return train(job, run, *args)

    with monkeypatch.context() as patch:
        patch.setattr(network, "train_network", beside)
        bccli(*words, "--shard", "1/2")
    rows = read_rows(out / "leaderboard.csv")
    assert {row["name"] for row in rows} == {"cnn-15-seed0", "cnn-15-seed1", "cnn-15-seed5"}
    assert {row["status"] for row in rows} == {"complete"}
    shutil.rmtree(out / "cnn-15-seed5")
    bccli(*words)
    assert results(out) == results(place("grid"))


@pytest.mark.slow
def test_more_epochs_go_on_with_what_an_array_made(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = words_of(place, "run", out)
    bccli(*words, "--epochs", 1, "--shard", "1/2")
    bccli(*words, "--shard", "2/2")
    assert results(out) == results(place("run"))


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("run", ()),
        *(
            pytest.param(name, shard, marks=pytest.mark.slow)
            for name, shard in (("run", ONE), ("tree", ()), ("grid", ONE))
        ),
    ],
)
def test_finished_members_that_lie_there_are_adopted(
    bccli: Bccli, place: Place, tmp_path: Path, name: str, shard: tuple[str, ...]
) -> None:
    """Made one by one, such as by jobs of somebody's own, and put where the whole would have made them."""
    out, whole = tmp_path / name, place(name)
    member = "cnn-15-seed1" if name == "grid" else "fold-1"
    shutil.copytree(whole / member, out / member)
    before = (out / member / "run.json").stat().st_mtime_ns
    bccli(*words_of(place, name, out), *shard)
    assert results(out) == results(whole)
    assert (out / member / "run.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("shard", [(), ONE])
def test_what_a_kill_at_the_very_end_left_goes_with_the_next_command(
    bccli: Bccli, place: Place, tmp_path: Path, shard: tuple[str, ...]
) -> None:
    """The whole was complete, and its claims were being removed."""
    root = shutil.copytree(place("run"), tmp_path / "out")
    before = tree(root)
    (root / CLAIMS_FOLDER).mkdir()
    (root / CLAIMS_FOLDER / "fold-0.done").write_text("")
    (root / STARTS_FILE).write_text("1")
    bccli(*words_of(place, "run", root), *shard)
    assert tree(root) == before
    assert not (root / CLAIMS_FOLDER).exists()
    assert not (root / STARTS_FILE).exists()


def test_members_of_other_settings_are_not_adopted(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(place("run") / "fold-1", out / "fold-1")
    told = bccli(*words_of(place, "run", out), "--dropout", 0.3, exit=3)
    assert "fold-1: was trained with dropout" in refused(told)
    shutil.copytree(place("run") / "fold-1", tmp_path / "other" / "fold-9")
    told = bccli(*words_of(place, "run", tmp_path / "other"), exit=3)
    assert "is not empty and holds no run (fold-9)" in refused(told)


def test_a_single_run_is_not_shared(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    words = "train", place("data"), tmp_path / "run", *QUICK, "--fold", 1
    assert "--shard: this is one run" in refused(bccli(*words, "--shard", "1/2", exit=2))
    assert not (tmp_path / "run").exists()
    told = bccli(*words_of(place, "run", tmp_path / "run"), "--shard", "1/2", "--overwrite", exit=2)
    assert "--overwrite" in refused(told)


# Processes


class Task:
    """A task of an array, in a process of its own."""

    def __init__(self, words: tuple[object, ...], shard: str, log: Path) -> None:
        self.log = log
        with log.open("w") as stream:
            command = [sys.executable, "-m", "bccli", *map(str, words), "--shard", shard]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)

    def output(self) -> str:
        """What it prints until it has ended well."""
        stdout, _ = self.process.communicate()
        assert self.process.returncode == 0, self.log.read_text()
        return stdout


@pytest.mark.slow
def test_four_tasks_make_what_one_makes_and_each_feature_once(place: Place, tmp_path: Path) -> None:
    """Frozen features, which all folds of a seed need: its random weights are their own."""
    out, cache = tmp_path / "grid", tmp_path / "cache"
    words = *words_of(place, "grid", out), "--cache", cache
    tasks = [Task(words, f"{number}/4", tmp_path / f"{number}.log") for number in range(1, 5)]
    printed = [task.output() for task in tasks]
    assert sorted(map(bool, printed)) == [False, False, False, True]
    assert results(out) == results(place("grid"))
    assert stored_features(cache) == 2 * len({one.sha256 for one in load_dataset(place("data")).samples})


def stored_features(cache: Path) -> int:
    """How many rows the stores of features have together."""
    import numpy as np

    return sum(len(np.load(path, mmap_mode="r")) for path in (cache / "features").glob("*/*.npy"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_task_that_is_killed_and_run_again_changes_nothing(
    place: Place, tmp_path: Path, how: signal.Signals
) -> None:
    """Killed once it has claimed its second run."""
    out = tmp_path / "grid"
    words = words_of(place, "grid", out)
    tasks = [Task(words, f"{number}/2", tmp_path / f"{number}.log") for number in (1, 2)]
    victim = tasks[1]
    while victim.log.read_text().count("shard 2/2: ") < 2 and victim.process.poll() is None:
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        victim.process.send_signal(how)
    victim.process.communicate()
    tasks[0].output()
    Task(words, "2/2", tmp_path / "again.log").output()
    assert RunInfo.read(out / "run.json").status == "complete"
    assert results(out) == results(place("grid"))
