"""A sample of all faults; `python -m tests.faults` tries as many as are asked for.

`BCCLI_FAULT_SEED` chooses other ones.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import open_bench, sample, table
from tests.faults.cases import CASES
from tests.faults.kinds import KINDS, Kind
from tests.faults.plan import Act, Plan, acts_of, build, compiler, step_of
from tests.faults.trial import KILLED, Bench, Fault, Undisturbed, Verdict, halves, wrongly_said

pytestmark = pytest.mark.skipif(
    compiler() is None or sys.platform != "linux", reason="needs a C compiler and Linux"
)
SEED = int(os.environ.get("BCCLI_FAULT_SEED", "0"))
BY_NAME = {case.name: case for case in CASES}
QUICK = (
    *("prepare", "prepare, patches", "prepare, packed afterwards", "augment"),
    *("evaluate, output", "evaluate, calibrate", "predict, output"),
)
TRAINING = "train, visual words", "train, frozen"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One server for all tests."""
    made = open_bench(tmp_path_factory.mktemp("faults"), 0)
    yield made
    made.server.close()


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        *((name, 8) for name in QUICK),
        *(pytest.param(name, 8, marks=pytest.mark.slow) for name in TRAINING),
        *(pytest.param(name, 40, marks=pytest.mark.full) for name in BY_NAME),
    ],
)
def test_a_command_survives_faults(bench: Bench, name: str, number: int) -> None:
    faults = sample(list(bench.faults_of(BY_NAME[name], KINDS)), number, SEED)
    verdicts = [bench.attempt(fault) for fault in faults]
    wrong = [verdict for verdict in verdicts if not verdict.survived]
    assert not wrong, f"{wrong}\n{table(verdicts, 'kind')}"
    assert sum(not verdict.missed for verdict in verdicts) >= number - 1


# A program that does each act once in a folder, and says what failed.
ACTING = """
import os, sys
os.chdir(sys.argv[1])
def attempt(act):
    try:
        return act()
    except OSError as error:
        print(error.errno, flush=True)
attempt(lambda: os.mkdir("folder"))
number = attempt(lambda: os.open("file", os.O_WRONLY | os.O_CREAT))
if number is not None:
    print("wrote", attempt(lambda: os.write(number, b"0123456789")), flush=True)
    attempt(lambda: os.fsync(number))
    attempt(lambda: os.rename("file", "other"))
    attempt(lambda: os.unlink("other"))
print("end")
"""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_act_fails_as_planned(tmp_path: Path, kind: Kind) -> None:
    place = tmp_path / "place"
    for act in kind.acts:
        place.mkdir(exist_ok=True)
        trace = tmp_path / f"{act}.trace"
        plan = Plan.write(
            tmp_path / "plan", place, act=act, number=1, error=kind.error, mode=kind.mode, trace=trace,
            folder=place / "folder",
        )  # fmt: skip
        environment = {**os.environ, "LD_PRELOAD": str(build(tmp_path)), "BCCLI_FAULTS": str(plan.file)}
        command = [sys.executable, "-c", ACTING, str(place)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert plan.fired
        first = next(one.step for one in acts_of(trace, place) if one.act == act)
        assert first in ("folder", "file", "other")
        if "kill" in kind.mode:
            assert ended.returncode == KILLED
        elif kind.mode == "gone":
            assert (tmp_path / "away").exists() == (act != "mkdir")  # before there was a folder
        else:
            assert str(kind.error) in ended.stdout.splitlines() or "wrote 5" in ended.stdout
            assert ended.stdout.endswith("end\n")
        for path in place.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    plan = Plan.write(tmp_path / "plan", tmp_path / "other", act="open", number=1, error=28, mode="from on")
    environment = {**os.environ, "LD_PRELOAD": str(build(tmp_path)), "BCCLI_FAULTS": str(plan.file)}
    command = [sys.executable, "-c", ACTING, str(tmp_path / "place")]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == (
        b"wrote 10\nend\n"
    )
    assert not plan.fired


def test_what_a_command_may_say() -> None:
    full, killed = KINDS[0], KINDS[-1]
    assert not wrongly_said(3, "bccli 0.1.0\nError: out: the disk is full\n", 0, full)
    assert not wrongly_said(0, "a warning\n", 0, full)
    assert not wrongly_said(KILLED, "", 0, killed)
    assert wrongly_said(KILLED, "", 0, full)
    assert wrongly_said(1, "Error: unexpected OSError\n", 0, full)
    assert wrongly_said(3, "Traceback\nError: a\n", 0, full)
    assert wrongly_said(3, "Error: a\nError: b\n", 0, full)
    assert wrongly_said(3, "", 0, None)


def test_halves_are_seen(tmp_path: Path) -> None:
    whole = Undisturbed([], 0, {}, {}, set())
    for name, content in (("a.json", b"{"), ("a.csv", b"a,b\n1"), ("a.npz", b"PK"), ("a.md", b"")):
        (tmp_path / name).write_bytes(content)
    assert list(halves(tmp_path, whole)) == [
        f"{name} is half" for name in ("a.csv", "a.json", "a.md", "a.npz")
    ]


def test_numbers_make_one_step() -> None:
    assert step_of("out/.model.17.tmp.keras") == "out/model.keras~"
    assert step_of("out/.dataset.json.5.tmp") == "out/dataset.json~"
    assert step_of("out/images/000/000017.png") == "out/images/N/N.png"


def test_a_table_counts_what_was_reached() -> None:
    case, act = CASES[0], Act("open", 1, "out/a.csv")
    verdicts = [
        Verdict(Fault(case, act, KINDS[0])),
        Verdict(Fault(case, act, KINDS[0]), missed=True),
        Verdict(Fault(case, act, KINDS[-1]), lost="a.csv is half"),
    ]
    assert table(verdicts, "command").splitlines()[-1] == "| all | 2 | 1 | 1 | 0 | 0 |"
