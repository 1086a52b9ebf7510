"""The jobs of examples/slurm on a real Slurm of two virtual nodes: what they make is what one process makes.

No test waits for a time limit or for Slurm's two minutes before a job that was put back into the queue goes
on, but for the one that is marked `full`.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bccli.cli import cli
from tests.commands.test_arrays import results
from tests.conftest import Bccli, read_rows, tree
from tests.library import Library, bccli_in
from tests.slurm_cluster import Cluster, running, why_not

SLURM = Path(__file__).parent.parent / "examples" / "slurm"
SCRIPTS = sorted(SLURM.glob("*.sbatch"))
TAIL = """\
code=$?
# 75: stopped by the time limit or for somebody else, after saving. The same task again goes on.
if [ "$code" = 75 ]; then scontrol requeue "{job}"; fi
exit "$code"
"""

on_slurm = [pytest.mark.slurm, pytest.mark.skipif(bool(why_not()), reason=f"Slurm: {why_not()}")]


# --- what can be said of the scripts without a Slurm -------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_job_goes_back_into_the_queue_for_75_alone(script: Path) -> None:
    text = script.read_text("utf-8")
    array = "--array" in text
    job = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if array else "$SLURM_JOB_ID"
    assert text.endswith(TAIL.format(job=job))
    assert array == ('--shard "auto/$SLURM_ARRAY_TASK_COUNT"' in text)
    for option in ("--requeue", "--open-mode=append", "--signal=TERM@120", f"--job-name=bccli-{script.stem}"):
        assert f"\n#SBATCH {option}\n" in text


COMMANDS = {"sweep": "train", "folds": "train"}
"""Of jobs that are not called as their command is."""

FOR_ANY = "collect", "multi-gpu", "two-nodes"
"""Jobs without an array, whose first word is the command."""


@pytest.mark.parametrize("page", [SLURM / "README.md", *SCRIPTS], ids=lambda path: path.stem)
def test_examples_have_options_of_their_commands(page: Path) -> None:
    examples = re.findall(r"sbatch [^`\n|]*?([\w-]+)\.sbatch ([^`\n…]+)", page.read_text("utf-8"))
    assert {name for name, _ in examples} >= {
        path.stem for path in SCRIPTS if page in (path, page.parent / "README.md")
    }
    for name, words in examples:
        command = words.split()[0] if name in FOR_ANY else COMMANDS.get(name, name)
        known = {
            option for one in cli.commands[command].params for option in (*one.opts, *one.secondary_opts)
        }
        assert {word for word in words.split() if word.startswith("--")} <= known, words


def submit_all(*args: str, **variables: str) -> list[str]:
    """The lines that submit-all.sh prints."""
    command = ["bash", str(SLURM / "submit-all.sh"), *args]
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_dry_run_prints_the_chain_and_writes_nothing(tmp_path: Path) -> None:
    study = {"FOLDS": "5", "AUGMENT": "--policy flips", "FINETUNE": "--blocks 2", "INPUTS": "my slides"}
    results = str(tmp_path / "results")
    lines = submit_all("--dry-run", RESULTS=results, TRAINING_JOBS="--gres=gpu:1", **study)
    names = [Path(next(word for word in line.split() if word.endswith(".sbatch"))).stem for line in lines]
    assert names == ["prepare", "augment", "folds", "collect", "finetune", "collect", "predict"]
    needs = "", "afterok:prepare", "afterok:augment", r"afterok:augment\,afterany:folds"
    for line, need in zip(lines, (*needs, "afterok:collect"), strict=False):
        assert (f"--dependency={need} " in line) == bool(need)
    assert [name for name, line in zip(names, lines, strict=True) if "--gres" in line] == names[2:6]
    assert r"my\ slides" in lines[-1]
    assert not list(tmp_path.iterdir())
    assert len(submit_all("--dry-run", RESULTS=results)) == 3
    assert len(submit_all("--dry-run", RESULTS=results, TASKS="1")) == 2


# --- on a Slurm ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm for this module; `bccli` is that of this Python."""
    folder = tmp_path_factory.mktemp("slurm")
    place = tmp_path_factory.mktemp("jobs")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with running(folder, place, {"PATH": path}) as started:
        yield started


@pytest.fixture
def at(cluster: Cluster, tmp_path: Path) -> Cluster:
    """The cluster, whose jobs run in a folder of this test."""
    return cluster.at(tmp_path)


def job_of(name: str) -> Path:
    return SLURM / f"{name}.sbatch"


def end_well(cluster: Cluster, *jobs: str) -> None:
    """Wait for jobs, each task of which has to end with 0."""
    cluster.end(*jobs)
    states = {state for job in jobs for state in cluster.states(job)}
    assert states == {"COMPLETED"}, cluster.logs()


STAND_IN = """\
#!/bin/bash
trap 'exit 75' TERM
echo "$SLURM_JOB_NAME ${{SLURM_ARRAY_TASK_ID:-}} $*" >> {said}
{then}
"""


def stand_in(at: Cluster, tmp_path: Path, then: str) -> Path:
    """Put a stand-in for bccli where jobs find it first; returns the file that it writes its arguments to."""
    said, program = tmp_path / "said", tmp_path / "bin" / "bccli"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(said=said, then=then))
    program.chmod(0o755)
    said.touch()
    at.environment["PATH"] = f"{program.parent}{os.pathsep}{at.environment['PATH']}"
    return said


def submit_each(at: Cluster) -> list[str]:
    """Submit every script, an array with one task, so that all run at the same time; that of two nodes first,
    while both have room."""
    jobs = []
    for script in sorted(SCRIPTS, key=lambda path: path.stem != "two-nodes"):
        array = [] if script.stem in FOR_ANY else ["--array=3"]
        jobs.append(at.submit("--cpus-per-task=1", f"--job-name={script.stem}", *array, script, "A", "B C"))
    return jobs


TASKS = len(SCRIPTS) + 1
"""So many stand-ins run where every script is submitted: of the job of two nodes one on each."""


class OnSlurm:
    pytestmark = on_slurm


class TestMechanics(OnSlurm):
    """What becomes of a job's exit code; a stand-in for bccli ends as it is told."""

    def test_75_starts_a_job_again_and_3_ends_it(self, at: Cluster, tmp_path: Path) -> None:
        said = stand_in(at, tmp_path, "exit $((${SLURM_RESTART_COUNT:-0} < 1 ? 75 : 3))")
        jobs = submit_each(at)
        at.end(*jobs)
        for job in jobs:
            (task,) = at.tasks(job)
            assert (task["Restarts"], task["ExitCode"], task["JobState"]) == ("1", "3:0", "FAILED"), at.logs()
        lines = said.read_text().splitlines()
        assert len(lines) == 2 * TASKS
        assert "collect  A B C" in lines
        assert "multi-gpu  A B C --strategy mirrored" in lines
        assert lines.count("two-nodes  A B C --strategy multiworker") == 2 * 2
        assert "sweep 3 train A B C --shard auto/1" in lines

    def test_a_task_alone_starts_again(self, at: Cluster, tmp_path: Path) -> None:
        """Its array's number is that of one of its tasks, too, and names all of them."""
        then = "[ $SLURM_ARRAY_TASK_ID = 3 ] && exit $((${SLURM_RESTART_COUNT:-0} ? 0 : 75)); exit 0"
        said = stand_in(at, tmp_path, then)
        end_well(at, job := at.submit("--array=1-3", job_of("sweep"), "A"))
        assert sorted(task["Restarts"] for task in at.tasks(job)) == ["0", "0", "1"]
        assert len(said.read_text().splitlines()) == 4

    def test_a_job_that_is_cancelled_stays_so(self, at: Cluster, tmp_path: Path) -> None:
        said = stand_in(at, tmp_path, "while :; do sleep 0.1; done")
        jobs = submit_each(at)
        for job in jobs:
            at.wait_for(lambda job=job: at.states(job) == ["RUNNING"], f"job {job}")
        at.wait_for(lambda: len(said.read_text().splitlines()) == TASKS, "all stand-ins")
        at.run("scancel", *jobs)
        at.end(*jobs)
        assert [(at.states(job), at.tasks(job)[0]["Restarts"]) for job in jobs] == [
            (["CANCELLED"], "0") for _ in jobs
        ]


PHANTOM = "phantom", "histology"
IMAGES = "--count", 800, "--patients", 8, "--size", "32x32", "--ratios", "1/1/1"


def signal_task(at: Cluster, job: str, name: str) -> None:
    """Send a signal to the program of an array's first task, as Slurm itself does before the time limit."""
    at.run("scancel", f"--signal={name}", f"{job}_1")


def preempt(at: Cluster, job: str) -> None:
    """Have a job of a partition that goes first take all nodes."""
    at.end(at.submit("--partition=urgent", "--nodes=2", "--exclusive", "--output=urgent.log", "--wrap=true"))


def kill(at: Cluster, job: str) -> None:
    signal_task(at, job, "KILL")


def kill_second(place: Path) -> None:
    """Kill the second process of those that train in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mine = (process / "cwd").resolve() == place.resolve()
            if mine and b"SLURM_PROCID=1\0" in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue  # it has ended, or is not ours


@pytest.fixture(scope="module")
def whole(library: Library) -> Path:
    """What one process prepares."""
    return library.folder("slurm", fill) / "whole"


def fill(place: Path) -> None:
    bccli_in("prepare", *PHANTOM, place / "whole", *IMAGES, pictures=True)


class TestPrepare(OnSlurm):
    """Tasks that are stopped in the middle of their images; TensorFlow is not needed for that."""

    @pytest.mark.parametrize(
        ("stop", "restarts"),
        [
            pytest.param(lambda at, job: signal_task(at, job, "TERM"), "1", id="time limit"),
            pytest.param(preempt, "1", id="preemption"),
            pytest.param(kill, "0", id="kill"),
        ],
    )
    def test_a_task_that_is_stopped_goes_on(
        self, at: Cluster, whole: Path, tmp_path: Path, stop: Callable[[Cluster, str], None], restarts: str
    ) -> None:
        command = ["--array=1-2", job_of("prepare"), *PHANTOM, "data", *IMAGES]
        job = at.submit(*command)
        log = tmp_path / f"bccli-prepare-{job}_1.log"
        at.wait_for(lambda: log.is_file() and "images: 128" in log.read_text(), "the first images")
        stop(at, job)
        at.end(job)
        assert at.tasks(f"{job}_1")[0]["Restarts"] == restarts
        if stop is kill:
            assert "CANCELLED" in at.states(job)
            job = at.submit(*command)
        end_well(at, job)
        assert re.search(r"were ready from an earlier start|complete; nothing to do", at.logs())
        assert tree(tmp_path / "data") == tree(whole)


STUDY = {
    "TASKS": "2",
    "PREPARE": "--count 48 --patients 12 --size 32x32 --ratios 1/1/1",
    "AUGMENT": "--policy flips",
    "TRAIN": "--backbone cnn-15 --backbone mobilenet-0.25 --weights none --epochs 2 --batch-size 8",
    "FINETUNE": "--blocks 1 --epochs 1 --batch-size 8",
}
"""What submit-all.sh is told, small."""


def study(name: str) -> list[str]:
    """The options of one stage."""
    return STUDY[name].split()


def make_study(bccli: Bccli, out: Path) -> None:
    """The commands of the study one after the other in this process."""
    bccli("prepare", *PHANTOM, out / "data", *study("PREPARE"))
    bccli("augment", out / "data", out / "augmented", *study("AUGMENT"))
    bccli("train", out / "augmented", out / "trained", *study("TRAIN"))
    bccli("finetune", out / "trained", out / "tuned", *study("FINETUNE"))


MIRRORED = "--epochs", 30, "--batch-size", 8, "--dropout", 0.3, "--devices", 2
TRAINED_TOGETHER = MIRRORED[:-2]
FOLDED = "--epochs", 1, "--batch-size", 8, "--seeds", 2, "--fold", "all"


class TestRuns(OnSlurm):
    """Jobs that train, against one process that does the same."""

    @pytest.mark.pictures
    @pytest.mark.exports
    def test_a_study_is_that_of_one_process(self, at: Cluster, bccli: Bccli, tmp_path: Path) -> None:
        out, whole = tmp_path / "study", tmp_path / "whole"
        images = str(out / "augmented" / "images")
        at.environment.update(STUDY, RESULTS=str(out), INPUTS=images)
        lines = [line.split() for line in at.run("bash", SLURM / "submit-all.sh").splitlines()]
        make_study(bccli, whole)
        end_well(at, *(job for _, job in lines))
        assert [name for name, _ in lines] == [
            "prepare", "augment", "sweep", "collect", "finetune", "collect", "predict",
        ]  # fmt: skip
        for name in ("data", "augmented"):
            assert tree(out / name) == tree(whole / name)
        for name in ("trained", "tuned"):
            assert results(out / name) == results(whole / name)
        (chosen,) = (
            row["name"] for row in read_rows(out / "tuned" / "leaderboard.csv") if row["chosen"] == "True"
        )
        bccli("predict", whole / "tuned" / chosen, images, "--output", whole / "labels.csv")
        assert (out / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()

    def test_one_network_on_two_devices_is_that_of_one_process(
        self, at: Cluster, bccli: Bccli, tmp_path: Path
    ) -> None:
        """Also where the job is stopped and starts again; without GPUs the devices are logical ones."""
        bccli("prepare", *PHANTOM, tmp_path / "data", *study("PREPARE"))
        job = at.submit("--cpus-per-task=1", job_of("multi-gpu"), "train", "data", "run", *MIRRORED)
        log = tmp_path / f"bccli-multi-gpu-{job}.log"
        at.wait_for(lambda: log.is_file() and "epoch 1/" in log.read_text(), "the first epoch")
        at.run("scancel", "--signal=TERM", job, check=False)
        end_well(at, job)
        words = "train", "data", "whole/run", *MIRRORED, "--strategy", "mirrored"
        alone = [sys.executable, "-m", "bccli", *map(str, words)]
        subprocess.run(alone, cwd=tmp_path, check=True, capture_output=True)
        assert results(tmp_path / "run") == results(tmp_path / "whole" / "run")

    @pytest.mark.parametrize("stop", ["TERM", "KILL"])
    def test_one_network_on_two_nodes_is_that_of_two_devices(
        self, stop: str, at: Cluster, bccli: Bccli, tmp_path: Path
    ) -> None:
        """Also where all are stopped, or the second one is killed, and the job starts again."""
        bccli("prepare", *PHANTOM, tmp_path / "data", *study("PREPARE"))
        command = "--cpus-per-task=1", job_of("two-nodes"), "train", "data", "run", *TRAINED_TOGETHER
        job = at.submit(*command)
        log = tmp_path / f"bccli-two-nodes-{job}.log"
        at.wait_for(lambda: log.is_file() and "epoch 1/" in log.read_text(), "the first epoch")
        if stop == "TERM":
            at.run("scancel", "--signal=TERM", job, check=False)
        else:
            kill_second(tmp_path)
        at.end(job)
        if stop == "KILL":  # 137 is what the job ends with, and is not put back
            assert "another worker is lost (" in log.read_text(), at.logs()
            job = at.submit(*command)
        end_well(at, job)
        words = "train", "data", "whole/run", *TRAINED_TOGETHER, "--strategy", "mirrored", "--devices", 2
        alone = [sys.executable, "-m", "bccli", *map(str, words)]
        subprocess.run(alone, cwd=tmp_path, check=True, capture_output=True)
        assert results(tmp_path / "run") == results(tmp_path / "whole" / "run")

    def test_folds_of_two_seeds_survive_a_killed_task(
        self, at: Cluster, bccli: Bccli, tmp_path: Path
    ) -> None:
        bccli("prepare", *PHANTOM, tmp_path / "data", "--count", 24, "--size", "32x32", "--folds", 3)
        command = ["--array=1-2", job_of("folds"), "data", "runs", *FOLDED[:-2]]
        job = at.submit(*command)
        at.wait_for(lambda: "shard 1/2: " in at.logs(), "the first task's first fold")
        kill(at, job)
        bccli("train", tmp_path / "data", tmp_path / "whole", *FOLDED)
        at.end(job)
        assert "CANCELLED" in at.states(job)
        end_well(at, at.submit(*command))
        end_well(at, at.submit(job_of("collect"), "train", "data", "runs", *FOLDED))
        assert results(tmp_path / "runs") == results(tmp_path / "whole")

    @pytest.mark.full
    def test_five_real_time_limits_change_nothing(self, at: Cluster, bccli: Bccli, tmp_path: Path) -> None:
        """Jobs of a minute each, the shortest that Slurm has, with more epochs until five were not enough.

        A node so busy that twice nothing is stored in a minute ends a job with 3; it is submitted again.
        """
        bccli("prepare", *PHANTOM, tmp_path / "data", "--count", 240, "--size", "48x48")
        stops, epochs, codes = 0, 64, []
        while stops < 5 or codes[-1:] == ["3:0"]:
            command = "train", "data", "run", "--epochs", epochs, "--batch-size", 8, "--dropout", 0.3
            job = at.submit("--time=1", "--signal=TERM@5", job_of("collect"), *command)
            at.end(job)
            codes += at.codes(job)
            assert set(codes) <= {"0:0", "3:0"}, at.logs()
            stops += int(at.tasks(job)[0]["Restarts"])
            epochs *= 2 if stops < 5 and codes[-1] == "0:0" else 1
        assert at.logs().count("stopped by SIGTERM") == stops
        bccli("train", tmp_path / "data", tmp_path / "whole" / "run", *command[3:])
        assert results(tmp_path / "run") == results(tmp_path / "whole" / "run")
