"""Killed, stopped and restarted: whenever a process ends, the results are those of an undisturbed run.

The moments are drawn from a seed. Where a test needs a certain phase it waits for a line on stderr and then
for a random time, so that it hits the same phase on slow and fast machines.
"""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bccli.core import interruption, workers
from bccli.core.data.dataset import load_dataset
from bccli.core.data.image_batches import open_images
from bccli.core.errors import DataError, Stopped
from bccli.core.training.loop import Fit
from bccli.core.workers import in_order
from tests.conftest import PATIENT, Bccli, draw, save, tree

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

IMAGES = 1000
COPIES = 1500
EPOCHS = 16
FROZEN = "--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none", "--batch-size", 2
TRAIN = *FROZEN, "--dropout", 0.3, "--epochs", EPOCHS, "--lr", 0.003
PLAIN_EPOCHS = 10
PLAIN = "--dropout", 0.3, "--epochs", PLAIN_EPOCHS, "--batch-size", 16
STARTED = "bccli .* train .*: TensorFlow"
LONG = 120


class Work:
    """`bccli ARGS…` in a session of its own, its output in files below `place`."""

    count = 0

    def __init__(self, place: Path, *args: object) -> None:
        Work.count += 1
        self.out, self.err = place / f"{Work.count}.out", place / f"{Work.count}.err"
        self.began = time.monotonic()
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bccli", *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process, its group and its session."""
        return self.process.pid

    @property
    def said(self) -> str:
        """What stands on stderr so far."""
        return self.err.read_text("utf-8", "replace")

    def until(self, pattern: str) -> bool:
        """Wait for a line on stderr; False if the process ended first."""
        return self.wait_for(lambda: re.search(pattern, self.said) is not None)

    def until_listening(self) -> bool:
        """Wait until the process has a handler for SIGTERM."""

        def listening() -> bool:
            try:
                status = Path(f"/proc/{self.pid}/status").read_text()
            except OSError:
                return False
            caught = re.search(r"SigCgt:\s*(\w+)", status)
            return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

        return self.wait_for(listening)

    def wait_for(self, ready: Callable[[], bool]) -> bool:
        """Wait until `ready()`; False if the process ended first."""
        limit = time.monotonic() + LONG
        while not ready():
            if self.process.poll() is not None:
                return ready()
            assert time.monotonic() < limit, f"waited for {LONG} s\n{self.said}"
            time.sleep(0.003)
        return True

    def sleep(self, seconds: float) -> None:
        """Let it work for some time, or until it ends."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal, if there is still somebody to hear it; returns the CPU seconds to the end."""
        return self.work_after(lambda: self.process.send_signal(number))

    def work_after(self, send: Callable[[], object]) -> float:
        """The CPU seconds that the process takes from here to its end, which do not depend on others'."""
        before, used = cpu_of_children(), self.used
        send()
        self.process.wait(LONG)
        return cpu_of_children() - before - used

    @property
    def used(self) -> float:
        """The CPU seconds of the process so far, none if its end has been seen."""
        if self.process.poll() is not None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> bool:
        """SIGKILL to the whole process group; whether it hit the process before its end."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        return self.process.wait(LONG) == -signal.SIGKILL

    def end(self, exit: int = 0) -> str:
        """Wait for the end with this exit code; returns stderr, which holds no traceback."""
        try:
            code = self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"did not end within {LONG} s\n{self.said}") from None
        assert code == exit, f"exit {code}, not {exit}\n{self.said}"
        assert "Traceback" not in self.said, self.said
        assert "Exception ignored" not in self.said, self.said
        return self.said


def cpu_of_children() -> float:
    """The CPU seconds of all processes of ours whose end has been seen."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


Start = Callable[..., Work]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `bccli ARGS…`; what still runs after the test is killed."""
    begun: list[Work] = []
    place = tmp_path / "output"
    place.mkdir()

    def begin(*args: object) -> Work:
        begun.append(Work(place, *args))
        return begun[-1]

    yield begin
    for work in begun:
        if work.process.poll() is None:
            work.kill()


def session(number: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, _, belongs = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(belongs) == number and state not in "ZX":
                found.append(int(entry.name))
    return found


def ends(number: int) -> bool:
    """Whether the last process of a session ends."""
    limit = time.monotonic() + LONG
    while session(number) and time.monotonic() < limit:
        time.sleep(0.02)
    return not session(number)


def command_of(pid: int) -> bytes:
    """The command line of a process, empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def names(folder: Path) -> list[str]:
    """Everything below a folder, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- prepare ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 raw images of 60 patients."""
    root = tmp_path_factory.mktemp("raw")
    for number in range(IMAGES):
        patient = number % 60
        save(root / f"class{patient % 2}" / f"p{patient}_{number}.png", draw(patient % 2, number))
    return root


def preparing(kind: str, raw: Path, out: Path) -> tuple[object, ...]:
    """The arguments of one `prepare`, or of one `augment` of what is prepared, always the same."""
    if kind == "augment":
        return "augment", raw, out, "--policy", "table5", "--total", COPIES, "--workers", 2
    source = ("folder", raw, out, *PATIENT) if kind == "folder" else ("phantom", "histology", out)
    sizes = () if kind == "folder" else ("--count", IMAGES // 2, "--patients", 20, "--size", "32x32")
    return "prepare", *source, *sizes, "--workers", 2


def journaled(out: Path) -> dict[str, tuple[int, int]]:
    """The chunks that are done: each with its time and the number of its images."""
    found = {}
    with suppress(FileNotFoundError):  # at the end it is all put away, the folder as well
        for path in (out / ".unfinished").glob("*.json"):
            if path.stem.isdecimal():
                content = json.loads(path.read_text())
                found[path.name] = (path.stat().st_mtime_ns, len(content["rows"]) + len(content["bad"]))
    return found


def has_grown(out: Path, chunks: int) -> bool:
    """Whether there are at least so many chunks."""
    return len(journaled(out)) >= chunks


def reused(said: str) -> int:
    """How many images a `prepare` took over from an earlier start."""
    found = re.search(r"^(\d+) of \d+ images were ready from an earlier start$", said, re.M)
    return int(found[1]) if found else 0


def kill_prepare(start: Start, kind: str, raw: Path, place: Path, *, kills: int, seed: int) -> int:
    """Kill `prepare` until `kills` have hit, comparing whenever it got to its end.

    However quick or busy the machine is: the first kill of each folder comes behind a chunk, and later ones
    behind a few more or at a random moment. Returns how many images were reused in all.
    """
    rng = random.Random(seed)
    plain = place / "plain"
    undisturbed = start(*preparing(kind, raw, plain))
    undisturbed.end()
    duration = time.monotonic() - undisturbed.began
    expected, expected_names = tree(plain), names(plain)
    hits = total = rounds = 0
    while hits < kills:
        rounds += 1
        assert rounds <= 3 * kills, f"only {hits} of {kills} kills came before the end"
        out = place / f"out{rounds}"
        arguments = preparing(kind, raw, out)
        for turn in range(min(rng.randint(2, 5), kills - hits)):
            before = journaled(out)
            work = start(*arguments)
            if turn == 0 or rng.random() < 0.5:
                work.wait_for(partial(has_grown, out, len(before) + rng.randint(1, 3)))
            else:
                work.sleep(rng.uniform(0.1, duration))
            hits += work.kill()
            if (out / "dataset.json").exists():
                break
            assert before.items() <= journaled(out).items(), "a finished chunk was lost or made anew"
        ready = sum(images for _, images in journaled(out).values())
        complete = (out / "dataset.json").exists()
        said = finish(start, *arguments)
        assert complete or reused(said) == ready
        total += reused(said)
        assert tree(out) == expected
        assert names(out) == expected_names
    return total


def finish(start: Start, *arguments: object) -> str:
    """Run a command to its end: after two kills before the first chunk, the next start asks for more time."""
    work = start(*arguments)
    if work.process.wait(LONG) == 3 and "no progress in two starts" in work.said:
        work = start(*arguments)
    return work.end()


def test_prepare_survives_kills(start: Start, raw: Path, tmp_path: Path) -> None:
    """Two random moments, which may both come before the first chunk, and one that comes after it."""
    kill_prepare(start, "folder", raw, tmp_path, kills=2, seed=1)
    out = tmp_path / "later"
    work = start(*preparing("folder", raw, out))
    work.wait_for(lambda: len(journaled(out)) > 0)
    assert work.kill()
    ready = sum(images for _, images in journaled(out).values())
    assert reused(start(*preparing("folder", raw, out)).end()) == ready > 0
    assert tree(out) == tree(tmp_path / "plain")


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        pytest.param("phantom", 5, marks=pytest.mark.slow),
        *(pytest.param(kind, 20, marks=pytest.mark.full) for kind in ("folder", "phantom")),
    ],
)
def test_prepare_survives_many_kills(start: Start, raw: Path, tmp_path: Path, kind: str, kills: int) -> None:
    assert kill_prepare(start, kind, raw, tmp_path, kills=kills, seed=2) > 0


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 40 images, all of them train."""
    out = tmp_path_factory.mktemp("few") / "data"
    size = "--count", 40, "--patients", 10, "--size", "64x64", "--ratios", "1/0/0"
    Work(out.parent, "prepare", "phantom", "mammography", out, *size).end()
    return out


@pytest.mark.slow
def test_augment_survives_a_kill(start: Start, few: Path, tmp_path: Path) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    start(*preparing("augment", few, plain)).end()
    work = start(*preparing("augment", few, out))
    work.wait_for(lambda: len(journaled(out)) > 3)
    assert work.kill()
    assert ends(work.pid)
    work = start(*preparing("augment", few, out))
    work.until("images: 768")
    os.kill(work.pid, signal.SIGTERM)
    assert "stopped by SIGTERM; run the same command again" in work.end(75)
    ready = sum(images for _, images in journaled(out).values())
    assert reused(start(*preparing("augment", few, out)).end()) == ready >= 768
    assert tree(out) == tree(plain)
    assert names(out) == names(plain)


@pytest.mark.full
def test_augment_survives_many_kills(start: Start, few: Path, tmp_path: Path) -> None:
    assert kill_prepare(start, "augment", few, tmp_path, kills=10, seed=3) > 0


@pytest.mark.parametrize("fraction", [0.15, 0.3, pytest.param(0.8, marks=pytest.mark.slow)])
def test_workers_end_with_their_parent(start: Start, raw: Path, tmp_path: Path, fraction: float) -> None:
    work = start(*preparing("folder", raw, tmp_path / "out"))
    work.wait_for(lambda: len(session(work.pid)) > 1)
    if fraction > 0.15:  # otherwise while they are being started
        work.until(f"images: {round(fraction * 10 - 2)}")
    os.kill(work.pid, signal.SIGKILL)
    assert work.process.wait(LONG) == -signal.SIGKILL, "it was too quick to be killed"
    assert ends(work.pid)


def test_a_killed_worker_ends_prepare_with_a_sentence(start: Start, raw: Path, tmp_path: Path) -> None:
    work = start(*preparing("folder", raw, tmp_path / "out"))
    assert work.until("images: 256")
    (serving, *_) = [pid for pid in session(work.pid) if b"spawn_main" in command_of(pid)]
    os.kill(serving, signal.SIGKILL)
    assert re.search(r"^Error: a worker process was killed, .* run the same command again", work.end(3), re.M)
    assert ends(work.pid)
    assert reused(start(*preparing("folder", raw, tmp_path / "out")).end()) >= 256


@pytest.mark.parametrize(
    ("when", "to_group"),
    [
        ("survey", False),
        ("start", True),
        ("work", True),
        pytest.param("work", False, marks=pytest.mark.slow),
    ],
)
def test_prepare_stops_at_sigterm_and_continues(
    start: Start, raw: Path, tmp_path: Path, when: str, to_group: bool
) -> None:
    out = tmp_path / "out"
    work = start(*preparing("folder", raw, out))
    if when == "survey":
        work.until_listening()
    elif when == "start":
        work.wait_for(lambda: len(session(work.pid)) > 1)
    else:
        work.until("images: 384")
    (os.killpg if to_group else os.kill)(work.pid, signal.SIGTERM)
    said = work.end(75)
    assert "stopped by SIGTERM; run the same command again" in said
    ready = sum(images for _, images in journaled(out).values())
    assert reused(start(*preparing("folder", raw, out)).end()) == ready
    if when == "work":
        assert ready >= 384
    assert len(list((out / "images").rglob("*.png"))) == IMAGES
    assert not [name for name in names(out) if ".tmp" in name or name in (".lock", ".unfinished")]


def test_prepare_is_alone_in_its_folder(start: Start, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(*preparing("folder", raw, out))
    first.wait_for(lambda: (out / ".unfinished" / "settings.json").exists())  # written under the lock
    os.killpg(first.pid, signal.SIGSTOP)
    said = start(*preparing("folder", raw, out)).end(3)
    os.killpg(first.pid, signal.SIGCONT)
    assert re.search(rf"^Error: .*out: process {first.pid} on .* is working here; .*$", said, re.M)
    first.end()
    assert "nothing to do" in start(*preparing("folder", raw, out)).end()


def test_prepare_sweeps_up_after_a_kill_at_its_end(start: Start, raw: Path, tmp_path: Path) -> None:
    """Between dataset.json and the removal of the journals."""
    out = tmp_path / "out"
    start(*preparing("folder", raw, out)).end()
    before = names(out)
    (out / ".unfinished").mkdir()
    (out / ".unfinished" / "settings.json").write_text("{}")
    (out / ".lock").touch()
    assert "nothing to do" in start(*preparing("folder", raw, out)).end()
    assert names(out) == before


# --- train -----------------------------------------------------------------------------------------


def noisy(label: int, seed: int, side: int) -> np.ndarray:
    """An image whose class is hard enough to see that training has something to do."""
    noise = np.random.default_rng(seed).integers(-90, 90, (side, side, 3))
    return np.clip(draw(label, seed, (side, side)).astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`frozen`: 1,200 images of 32×32, so that features fill several chunks; `plain`: 120 of 16×16."""
    place = tmp_path_factory.mktemp("datasets")
    for name, images, side in (("frozen", 100, 32), ("plain", 10, 16)):
        for patient in range(12):
            for number in range(images):
                pixels = noisy(patient % 2, patient * 1000 + number, side)
                save(place / f"raw-{name}" / f"class{patient % 2}" / f"p{patient}_{number}.png", pixels)
        Work(place, "prepare", "folder", place / f"raw-{name}", place / name, *PATIENT).end()
    return {name: place / name for name in ("frozen", "plain")}


def training(kind: str, datasets: dict[str, Path], place: Path) -> tuple[object, ...]:
    """The arguments of one `train` into `place/run` with a cache of its own, always the same."""
    options = TRAIN if kind == "frozen" else PLAIN
    return "train", datasets[kind], place / "run", *options, "--cache", place / "cache"


@pytest.fixture(scope="module")
def undisturbed(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of each kind that nobody interrupted, made at its first use."""
    made: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in made:
            place = tmp_path_factory.mktemp(kind)
            Work(place, *training(kind, datasets, place)).end()
            made[kind] = place / "run"
        return made[kind]

    return run


def progress_of(run: Path) -> tuple[int, int]:
    """The epochs and steps that are saved; (0, 0) where there is no state."""
    try:
        with np.load(run / "state.npz") as content:
            progress = json.loads(str(content["progress"]))
    except FileNotFoundError:
        return 0, 0
    return progress["epoch"], progress["step"]


def cached(place: Path) -> int:
    """How many feature vectors are in the cache."""
    return sum(len(np.load(path)) for path in (place / "cache").glob("features/*/*.npy"))


def check_continued(said: str, saved: tuple[int, int], features: int) -> None:
    """What a restart says it took over is what had been saved; a killed one may have said nothing."""
    continued = re.search(r"^continuing after (\d+) epochs and (\d+) steps$", said, re.M)
    if continued:
        assert (int(continued[1]), int(continued[2])) == saved
    elif re.search(r"^epoch \d", said, re.M):
        assert saved == (0, 0)
    in_cache = re.search(r"^features: (\d+) of \d+ images were in the cache$", said, re.M)
    if in_cache:
        assert int(in_cache[1]) == features


def check_same(run: Path, expected: Path) -> None:
    """All that a run holds is the same, and nothing else lies there."""
    for name in ("history.csv", "predictions.csv", "metrics.json", "recipe.toml", "model.keras"):
        assert (run / name).read_bytes() == (expected / name).read_bytes(), name
    with np.load(run / "state.npz") as here, np.load(expected / "state.npz") as there:
        assert here.files == there.files
        for name in here.files:
            np.testing.assert_array_equal(here[name], there[name], name)
    assert names(run) == names(expected)
    assert not [name for name in names(run.parent) if name.endswith(".lock") or ".tmp" in name]


def kill_train(
    start: Start,
    kind: str,
    datasets: dict[str, Path],
    place: Path,
    expected: Path,
    *,
    phases: list[str],
    seed: int,
) -> None:
    """Kill `train` once in each phase, a random time after its line on stderr, then let it finish."""
    place.mkdir()
    rng = random.Random(seed)
    arguments, run = training(kind, datasets, place), place / "run"
    saved, features = (0, 0), 0
    for phase in phases:
        work, line = start(*arguments), still_to_come(phase, saved)
        assert work.until(line), f"ended before {line}\n{work.said}"
        work.sleep(rng.uniform(0, 1.5 if phase.startswith(f"epoch {epochs_of(kind)}/") else 0.25))
        work.kill()
        check_continued(work.said, saved, features)
        assert progress_of(run) >= saved
        assert cached(place) >= features
        saved, features = progress_of(run), cached(place)
        assert features % 512 in (0, 1200 % 512)
    said = start(*arguments).end()
    check_continued(said, saved, features)
    assert ("continuing after" in said) == (saved > (0, 0)) or "nothing to do" in said
    check_same(run, expected)


def still_to_come(phase: str, saved: tuple[int, int]) -> str:
    """The line of a phase; where its epoch was saved before the last kill came, that the run goes on."""
    epoch = re.fullmatch(r"epoch (\d+)/", phase)
    return "continuing after" if epoch and int(epoch[1]) <= saved[0] else phase


def epochs_of(kind: str) -> int:
    """How many epochs each kind of training has."""
    return EPOCHS if kind == "frozen" else PLAIN_EPOCHS


def phases_of(kind: str, seed: int) -> list[str]:
    """Lines to wait for: while features are made, in two epochs, and while the end is written."""
    rng, epochs = random.Random(seed), epochs_of(kind)
    first = [f"features: {rng.choice((608, 736, 1088))}"] if kind == "frozen" else ["epoch 1/"]
    middle = rng.randint(2, epochs // 2), rng.randint(epochs // 2 + 1, epochs - 1)
    return [*first, *(f"epoch {number}/" for number in middle), f"epoch {epochs}/"]


def test_train_survives_a_kill_and_a_signal(
    start: Start, datasets: dict[str, Path], undisturbed: Callable[[str], Path], tmp_path: Path
) -> None:
    expected, place, rng = undisturbed("frozen"), tmp_path / "a", random.Random(0)
    arguments = training("frozen", datasets, place)
    work = start(*arguments)
    assert work.until(phases_of("frozen", 0)[0])
    work.kill()
    features = cached(place)
    assert features in (512, 1024)
    stopped = stop_train(work := start(*arguments), 7, signal.SIGTERM, rng)
    check_continued(stopped, (0, 0), features)
    saved = progress_of(place / "run")
    assert saved[0] >= 7
    said = start(*arguments, "--overwrite").end()
    check_continued(said, saved, cached(place))
    assert "continuing after" in said
    check_same(place / "run", expected)


SCHEDULED = (
    *("--schedule", "cosine", "--warmup", 1, "--clip-norm", 1, "--steps-per-epoch", 11),
    *("--loss", "focal", "--label-smoothing", 0.1, "--epochs", 4),
)


@pytest.mark.slow
def test_a_schedule_survives_a_kill_in_the_middle_of_an_epoch(
    bccli: Bccli, start: Start, datasets: dict[str, Path], tmp_path: Path
) -> None:
    """An epoch of eleven steps does not end where a pass over the images does."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    bccli(*training("plain", datasets, whole), *SCHEDULED)
    work = start(*training("plain", datasets, torn), *SCHEDULED)
    assert work.until("epoch 2/")
    assert work.kill()
    assert (0, 0) < progress_of(torn / "run") < (4, 0)
    assert "continuing after" in bccli(*training("plain", datasets, torn), *SCHEDULED).stderr
    check_same(torn / "run", whole / "run")


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        pytest.param("plain", 4, marks=pytest.mark.slow),
        *(
            pytest.param(*each, marks=pytest.mark.full)
            for each in (("frozen", 1), ("frozen", 2), ("frozen", 3), ("plain", 5))
        ),
    ],
)
def test_train_survives_many_kills(
    start: Start,
    datasets: dict[str, Path],
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    kind: str,
    seed: int,
) -> None:
    phases, expected = phases_of(kind, seed), undisturbed(kind)
    kill_train(start, kind, datasets, tmp_path / "a", expected, phases=phases, seed=seed)


def stop_train(work: Work, epoch: int, number: signal.Signals, rng: random.Random) -> str:
    """Send a signal in an epoch; returns what the process said to its end."""
    assert work.until(f"epoch {epoch}/"), work.said
    work.sleep(rng.uniform(0, 0.1))
    assert work.stop(number) < 10
    said = work.end(130 if number == signal.SIGINT else 75)
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert f"stopped by {name}; run the same command again to continue" in said
    return said


def chain_of_signals(
    start: Start,
    datasets: dict[str, Path],
    place: Path,
    expected: Path,
    signals: tuple[signal.Signals, ...],
    kind: str = "frozen",
) -> None:
    """One run, stopped by one signal after the other; every second start has --overwrite."""
    rng, saved, run = random.Random(kind), (0, 0), place / "run"
    arguments = training(kind, datasets, place)
    for turn, number in enumerate(signals):
        work = start(*arguments, *(["--overwrite"] if turn % 2 else []))
        epoch = 2 + turn * (epochs_of(kind) - 4) // len(signals)
        check_continued(stop_train(work, epoch, number, rng), saved, cached(place))
        assert progress_of(run) > saved
        assert progress_of(run)[0] >= epoch
        saved = progress_of(run)
    check_continued(said := start(*arguments, "--overwrite").end(), saved, cached(place))
    assert "continuing after" in said
    check_same(run, expected)


@pytest.mark.parametrize(
    "kind",
    [pytest.param("plain", marks=pytest.mark.slow), pytest.param("frozen", marks=pytest.mark.full)],
)
def test_train_stops_at_signals_and_continues(
    start: Start, datasets: dict[str, Path], undisturbed: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    signals = (signal.SIGUSR2, signal.SIGINT, signal.SIGXCPU)
    chain_of_signals(start, datasets, tmp_path, undisturbed(kind), signals, kind)


WHEREVER = (1, 4, 9)
"""Of ten seeds, one for each phase: imports, the network, the end."""


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=pytest.mark.slow if seed in WHEREVER else pytest.mark.full)
        for seed in range(10)
    ],
)
def test_train_stops_wherever_the_signal_comes(
    start: Start,
    datasets: dict[str, Path],
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    seed: int,
) -> None:
    """Also in imports, while the network is built, and at the end: 75 or, too late for that, done."""
    rng = random.Random(seed)
    expected = undisturbed("plain" if seed % 2 else "frozen")
    kind = "plain" if seed % 2 else "frozen"
    work = start(*training(kind, datasets, tmp_path))
    if seed < 4:
        work.until_listening()
        work.sleep(rng.uniform(0, 4))
    else:
        assert work.until(STARTED if seed < 8 else f"epoch {epochs_of(kind)}/")
        work.sleep(rng.uniform(0, 2))
    assert work.stop() < 20
    work.end(75 if work.process.returncode else 0)
    start(*training(kind, datasets, tmp_path)).end()
    check_same(tmp_path / "run", expected)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(0, marks=pytest.mark.full),
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(4, marks=pytest.mark.slow),
    ],
)
def test_training_continues_after_any_step(
    bccli: Bccli,
    datasets: dict[str, Path],
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """An epoch has five steps; after the last one only its validation is left."""
    seeds = Fit._seeds

    def requesting(fit: Fit, now: int) -> np.ndarray:
        if (fit.progress.epoch, now) == (3, step):
            interruption.request(signal.SIGTERM)
        return seeds(fit, now)

    with monkeypatch.context() as patches:
        patches.setattr(Fit, "_seeds", requesting)
        bccli(*training("plain", datasets, tmp_path), exit=75)
    assert progress_of(tmp_path / "run") == (3, step + 1)
    said = bccli(*training("plain", datasets, tmp_path)).stderr
    assert f"continuing after 3 epochs and {step + 1} steps" in said
    check_same(tmp_path / "run", undisturbed("plain"))


# A program that sends itself a signal in a certain step of a certain epoch, and is bccli otherwise.
IN_A_STEP = """
import os, sys
from bccli.core.training.loop import Fit
rates, (epoch, step, number) = Fit._rate, map(int, sys.argv[1:4])
def rate(fit, now, cuts):
    if (fit.progress.epoch, now) == (epoch, step):
        os.kill(os.getpid(), number)
    return rates(fit, now, cuts)
Fit._rate = rate
from bccli.cli import cli
cli.main(sys.argv[4:])
"""


@pytest.mark.parametrize(
    "count", [pytest.param(2, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.full)]
)
def test_signals_in_random_steps_of_an_augmented_training_change_nothing(
    datasets: dict[str, Path], tmp_path: Path, count: int
) -> None:
    """SIGKILL and SIGTERM in turn, each in a process of its own, all on one run."""
    options = "--augment", "zoom", "--steps-per-epoch", 7, "--schedule", "cosine"
    arguments = [str(part) for part in (*training("plain", datasets, tmp_path), *options)]
    rng = random.Random(5)
    places = sorted(divmod(place, 7) for place in rng.sample(range(7 * PLAIN_EPOCHS), count))
    for turn, (epoch, step) in enumerate(places):
        number = signal.SIGTERM if turn % 2 else signal.SIGKILL
        words = map(str, (epoch, step, int(number)))
        ended = subprocess.run(
            [sys.executable, "-c", IN_A_STEP, *words, *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == (75 if turn % 2 else -signal.SIGKILL), ended.stderr
        if turn % 2:
            assert progress_of(tmp_path / "run") == (epoch, step + 1)
    last = [sys.executable, "-m", "bccli"]
    assert "continuing after" in subprocess.run([*last, *arguments], capture_output=True, text=True).stderr
    whole = [str(part) for part in (*training("plain", datasets, tmp_path / "whole"), *options)]
    assert subprocess.run([*last, *whole], capture_output=True, check=False).returncode == 0
    check_same(tmp_path / "run", tmp_path / "whole" / "run")


SWEEP = (
    *("--backbone", "mobilenet-0.25", "--backbone", "cnn-15", "--weights", "none", "--trainable", "none"),
    *("--classifier", "dense", "--classifier", "svm", "--classifier", "bovw", "--epochs", 4),
)


@pytest.mark.slow
def test_a_sweep_of_networks_and_classifiers_survives_kills(
    bccli: Bccli, start: Start, datasets: dict[str, Path], tmp_path: Path
) -> None:
    whole, torn, rng = tmp_path / "whole", tmp_path / "torn", random.Random(0)

    def sweep(place: Path) -> tuple[object, ...]:
        return "train", datasets["frozen"], place / "run", *SWEEP, "--cache", place / "cache"

    bccli(*sweep(whole))
    for phase in ("features: 608", "fitting svm", "learning the words"):
        work = start(*sweep(torn))
        assert work.until(phase), work.said
        work.sleep(rng.uniform(0, 1))
        assert work.kill()
    bccli(*sweep(torn))
    for member in ("mobilenet-0.25", "mobilenet-0.25-svm", "cnn-15", "cnn-15-svm", "bovw"):
        for name in ("predictions.csv", "metrics.json", "seen.csv", "recipe.toml"):
            found, expected = (place / "run" / member / name for place in (torn, whole))
            assert found.read_bytes() == expected.read_bytes(), (member, name)


def test_no_images_are_no_batches(datasets: dict[str, Path]) -> None:
    """What is left of an epoch that was stopped after its last step."""
    dataset = load_dataset(datasets["plain"])
    images = open_images(dataset.root, dataset.samples)
    assert list(images.batches(np.arange(0), 8)) == []


def named_epochs(said: str) -> list[int]:
    """The epochs that stderr names."""
    return [int(number) for number in re.findall(r"^epoch (\d+)/", said, re.M)]


def send_burst(work: Work, rng: random.Random) -> None:
    """Two to six signals of batch systems, some of them before the program can have heard the first."""
    for _ in range(rng.randint(2, 6)):
        if work.process.poll() is None:
            os.kill(
                work.pid, rng.choice([number for number in interruption.SIGNALS if number != signal.SIGINT])
            )
        time.sleep(rng.choice([0, 0, 0.001, 0.02, 0.1]))


@pytest.mark.parametrize(
    "bursts", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.full)]
)
def test_bursts_of_signals_are_one_request(
    start: Start,
    datasets: dict[str, Path],
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    bursts: int,
) -> None:
    """At random moments of a training, the state is never older than the last epoch that was named."""
    rng, expected, hits, rounds = random.Random(bursts), undisturbed("plain"), 0, 0
    while hits < bursts:
        rounds += 1
        assert rounds <= bursts, f"only {hits} of {bursts} bursts came before the end"
        place = tmp_path / f"round{rounds}"
        place.mkdir()
        arguments, run, saved = training("plain", datasets, place), place / "run", 0
        while hits < bursts and saved < PLAIN_EPOCHS - 1:
            work = start(*arguments)
            assert work.until(f"epoch {rng.randint(saved + 1, PLAIN_EPOCHS)}/"), work.said
            work.sleep(rng.uniform(0, 0.05))
            send_burst(work, rng)
            if work.process.wait(LONG) == 0:
                break
            hits += 1
            assert progress_of(run)[0] >= max(named_epochs(work.end(75)))
            saved = progress_of(run)[0]
        start(*arguments).end()
        check_same(run, expected)


@pytest.mark.slow
def test_a_loop_of_slices_that_are_too_short_ends(
    start: Start, datasets: dict[str, Path], tmp_path: Path
) -> None:
    """Before the first step twice, and once more behind some epochs."""
    arguments = (*training("plain", datasets, tmp_path), "--epochs", 4)
    for code in (75, 3):
        work = start(*arguments)
        assert work.until(STARTED)
        os.kill(work.pid, signal.SIGUSR2)
        said = work.end(code)
    assert said.endswith("run: no progress in two starts; ask for more time\n")
    work = start(*arguments)
    assert work.until("epoch 1/")
    os.kill(work.pid, signal.SIGTERM)
    work.end(75)
    for code in (75, 3):
        work = start(*arguments)
        assert work.until(STARTED)
        os.kill(work.pid, signal.SIGTERM)
        work.end(code)
    assert progress_of(tmp_path / "run") > (0, 0)
    start(*arguments).end()
    assert ".starts" not in names(tmp_path / "run")


def test_train_is_alone_in_its_folder(
    bccli: Bccli, start: Start, datasets: dict[str, Path], tmp_path: Path
) -> None:
    first = start(*training("frozen", datasets, tmp_path))
    assert first.until(STARTED)
    os.killpg(first.pid, signal.SIGSTOP)
    said = bccli(*training("frozen", datasets, tmp_path), exit=3).stderr
    refusal = rf"Error: .*run: process {first.pid} on .* is working here; .*\n"
    assert re.fullmatch(rf"positive class: .*\n{refusal}", said)
    assert first.kill()


def test_evaluate_stops_quickly(start: Start, undisturbed: Callable[[str], Path], tmp_path: Path) -> None:
    rng, run = random.Random("evaluate"), undisturbed("frozen")
    before = names(run)
    for _ in range(4):
        work = start("evaluate", run)
        assert work.until_listening()
        work.sleep(rng.uniform(0, 0.2))
        assert work.stop() < 8
        if work.process.returncode:
            assert "stopped by SIGTERM" in work.end(75)
        else:
            work.end()
    assert names(run) == before


def lines_of(path: Path) -> int:
    """How many lines are in a file, none where there is none."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def images_of(part: Path) -> int:
    """How many images have their rows in what is unfinished, behind the line of what is asked for."""
    return max(lines_of(part) - 1, 0)


@pytest.mark.parametrize("stops", [pytest.param(3), pytest.param(20, marks=pytest.mark.slow)])
def test_predict_continues_what_was_written(start: Start, finished: Path, tmp_path: Path, stops: int) -> None:
    """Stopped and killed in turn behind a random number of images, whatever the format."""
    rng, hits, rounds, images = random.Random(stops), 0, 0, tmp_path / "images"
    for number in range(400):
        save(images / f"{number}.png", draw(number % 2, number))
    (images / "bad.png").write_text("no image")
    expected: dict[str, bytes] = {}
    while hits < stops:
        rounds += 1
        assert rounds <= 2 * stops, f"only {hits} of {stops} stops came before the end"
        format = ("csv", "json", "jsonl")[rounds % 3]
        options = "--format", format, "--workers", 2, "--batch-size", 8
        command = "predict", finished, images, *options, "--output"
        if format not in expected:
            start(*command, tmp_path / format).end(4)
            expected[format] = (tmp_path / format).read_bytes()
        output, kept = tmp_path / f"labels{rounds}", 0
        part = output.with_name(f"{output.name}.part")
        while hits < stops:
            work, wanted = start(*command, output), kept + rng.randint(1, 60)
            if not work.wait_for(lambda part=part, wanted=wanted: images_of(part) >= wanted):
                break
            number = (signal.SIGTERM, signal.SIGKILL)[hits % 2]
            work.process.send_signal(number)
            if work.process.wait(LONG) == 4:
                break
            assert work.process.returncode == (75 if number == signal.SIGTERM else -signal.SIGKILL), work.said
            hits += 1
            assert not output.exists() or images_of(part) == 401
            if kept:
                assert f"continuing after {kept} images" in work.said
            kept = images_of(part) // 8 * 8
        start(*command, output).end(4)
        assert output.read_bytes() == expected[format]
        assert "nothing to do" in start(*command, output).end(4)
        assert not list(tmp_path.glob(f"*{output.name}.[pls]*"))


@pytest.mark.parametrize("stops", [pytest.param(3), pytest.param(20, marks=pytest.mark.slow)])
def test_predict_is_shared_by_tasks_that_are_killed(
    start: Start, finished: Path, tmp_path: Path, stops: int
) -> None:
    """One of three, whichever, is killed or stopped behind a random number of blocks, and begins again."""
    rng, hits, rounds, images = random.Random(stops), 0, 0, tmp_path / "images"
    for number in range(400):
        save(images / f"{number}.png", draw(number % 2, number))
    (images / "bad.png").write_text("no image")
    command = "predict", finished, images, "--workers", 2, "--output"
    start(*command, tmp_path / "whole").end(4)
    while hits < stops:
        rounds += 1
        assert rounds <= 2 * stops, f"only {hits} of {stops} stops came before the end"
        output, wanted = tmp_path / f"labels{rounds}", 0
        parts = output.with_name(f"{output.name}.parts")
        tasks = [start(*command, output, "--shard", f"{number}/3") for number in (1, 2, 3)]
        while hits < stops:
            wanted, victim = wanted + rng.randint(0, 8), rng.randrange(3)
            if not tasks[victim].wait_for(lambda parts=parts, wanted=wanted: blocks_of(parts) >= wanted):
                break
            number = (signal.SIGTERM, signal.SIGKILL)[hits % 2]
            tasks[victim].process.send_signal(number)
            code = tasks[victim].process.wait(LONG)
            if code not in (75, -number):
                break
            hits += 1
            tasks[victim] = start(*command, output, "--shard", f"{victim + 1}/3")
        for task in tasks:
            task.end(0 if task.process.wait(LONG) == 0 else 4)
        said = start(*command, output).end(4)
        assert "nothing to do" in said or hits
        assert output.read_bytes() == (tmp_path / "whole").read_bytes()
        assert made_of(output) == made_of(tmp_path / "whole")
        assert {path.name for path in tmp_path.glob(f"*{output.name}*")} == {
            output.name,
            f".{output.name}.made",
        }


def blocks_of(parts: Path) -> int:
    """How many blocks of images are done."""
    return sum(1 for path in parts.glob("*.rows"))


def made_of(output: Path) -> bytes:
    """What an output file was made of."""
    return output.with_name(f".{output.name}.made").read_bytes()


# --- the same command again ------------------------------------------------------------------------


def times(folder: Path) -> dict[str, int]:
    """When each file was last written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_a_finished_run_is_left_alone_or_replaced(
    bccli: Bccli, datasets: dict[str, Path], tmp_path: Path
) -> None:
    arguments = (*training("frozen", datasets, tmp_path), "--epochs", 2)
    run = tmp_path / "run"
    bccli(*arguments)
    before, results = times(run), tree(run)
    assert "complete; nothing to do" in bccli(*arguments).stderr
    assert times(run) == before
    said = bccli(*arguments, "--overwrite").stderr
    assert "epoch 1/2" in said
    assert "continuing" not in said
    assert all(times(run)[name] > before[name] for name in results)
    assert tree(run)["history.csv"] == results["history.csv"]
    said = bccli(*arguments, "--lr", 0.02, exit=3).stderr
    assert "lr 0.003, now 0.02" in said


@pytest.mark.slow
def test_an_unfinished_run_is_continued_with_overwrite_but_not_with_other_settings(
    start: Start, datasets: dict[str, Path], tmp_path: Path
) -> None:
    arguments, run = training("frozen", datasets, tmp_path), tmp_path / "run"
    work = start(*arguments)
    assert work.until("epoch 5/")
    work.kill()
    saved = progress_of(run)
    assert saved > (0, 0)
    assert "dropout 0.3, now 0.4" in start(*arguments, "--overwrite", "--dropout", 0.4).end(3)
    said = start(*arguments, "--overwrite").end()
    assert f"continuing after {saved[0]} epochs and {saved[1]} steps" in said


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed"])
@pytest.mark.slow
def test_more_epochs_extend_a_run(
    bccli: Bccli,
    start: Start,
    datasets: dict[str, Path],
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    killed: bool,
) -> None:
    expected = undisturbed("frozen")
    arguments, run = training("frozen", datasets, tmp_path), tmp_path / "run"
    bccli(*arguments, "--epochs", 5)
    first = (run / "history.csv").read_text()
    if killed:
        work = start(*arguments)
        assert work.until("epoch 9/")
        work.kill()
    said = bccli(*arguments).stderr
    assert ("continuing after 5 epochs and 0 steps" in said) != killed
    assert (run / "history.csv").read_text().startswith(first)
    check_same(run, expected)


def test_a_first_write_that_was_killed_does_not_block_the_folder(
    bccli: Bccli, datasets: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".run.json.4711.tmp").write_text("{")
    (run / ".lock").touch()
    bccli(*training("frozen", datasets, tmp_path), "--epochs", 1)
    assert not [name for name in names(run) if ".tmp" in name or name == ".lock"]
    shutil.rmtree(run)


# --- the pieces ------------------------------------------------------------------------------------


@pytest.fixture
def forgetting() -> Iterator[None]:
    """No request is left over from this test or an earlier one."""
    interruption.forget()
    yield
    interruption.forget()


@pytest.mark.usefixtures("forgetting")
def test_a_request_in_the_last_piece_of_work_is_not_lost() -> None:
    with pytest.raises(Stopped, match="SIGTERM"), interruption.deferred():
        interruption.request(signal.SIGTERM)


@pytest.mark.usefixtures("forgetting")
def test_a_request_that_python_swallowed_is_raised_at_the_next_safe_point() -> None:
    with suppress(Stopped):
        interruption.request(signal.SIGUSR1)
    with pytest.raises(Stopped, match="SIGUSR1"), interruption.deferred():
        raise AssertionError("must not begin")


# A program that sends itself a signal in a callback that lets no exception out, and then is idle.
IN_A_CALLBACK = """
import os, signal, time, weakref
from bccli import cli
class Thing: pass
def callback(gone):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
def idle(self, *args):
    thing = Thing()
    reference = weakref.ref(thing, callback)
    del thing
    time.sleep(60)
cli.BccliGroup.invoke = idle
cli.cli.main(["evaluate", "."])
"""


# As TensorFlow's C code does it: what an import raised becomes a SystemError, and the hook prints it.
IN_C_CODE = """
import os, signal, sys, time
from bccli import cli
from bccli.core.errors import Stopped
def idle(self, *args):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except Stopped as error:
        lost = SystemError("returned a result with an exception set")
        lost.__cause__ = error
    sys.excepthook(SystemError, lost, None)
    time.sleep(60)
cli.BccliGroup.invoke = idle
cli.cli.main(["evaluate", "."])
"""


@pytest.mark.parametrize("program", [IN_A_CALLBACK, IN_C_CODE])
def test_a_signal_in_a_callback_is_neither_lost_nor_printed(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=LONG
    )
    assert ended.returncode == 75
    assert ended.stderr == "stopped by SIGTERM; run the same command again to continue\n"


def test_nobody_takes_a_request_for_an_error() -> None:
    """Pillow's and Keras's callers have an `except Exception`."""
    assert not issubclass(Stopped, Exception)


def work_on(number: int) -> tuple[int, int]:
    """A job for `in_order`: the later ones are the quicker ones."""
    if number < 0:
        raise DataError(f"cannot do {number}")
    time.sleep(0.02 * (number % 3))
    return number, os.getpid()


def end_late(path: Path) -> None:
    """A job for `in_order` that takes long, and leaves a file at its end."""
    time.sleep(60)
    path.touch()


def test_workers_give_results_in_order_and_take_few_jobs_ahead() -> None:
    taken: list[int] = []
    jobs = (taken.append(number) or number for number in range(40))
    with closing(in_order(work_on, jobs, 2)) as results:
        found = [(*result, len(taken)) for result in results]
    assert [number for number, _, _ in found] == list(range(40))
    assert len({pid for _, pid, _ in found}) == 2
    assert all(ahead <= number + 5 for number, _, ahead in found)


def test_an_error_in_a_worker_is_raised_here_with_its_traceback() -> None:
    with pytest.raises(DataError, match="cannot do -1") as caught:
        list(in_order(work_on, [1, -1, 2], 2))
    assert "in work_on" in str(caught.value.__cause__)


@pytest.mark.usefixtures("forgetting")
def test_jobs_that_take_too_long_do_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "_GRACE", 0.3)
    ends = [tmp_path / "first", tmp_path / "second"]

    def sleep() -> None:
        with interruption.deferred(), closing(in_order(end_late, ends, 2)) as results:
            interruption.request(signal.SIGTERM)
            next(results)

    with pytest.raises(Stopped):
        sleep()
    assert not any(end.exists() for end in ends)
