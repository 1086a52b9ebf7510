"""Starts that store nothing end a loop of requeued jobs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bccli.core import interruption
from bccli.core.errors import DataError, NoProgressError, Stopped
from bccli.core.runs.starts import counted, progressed

ENOUGH = "run: no progress in two starts; ask for more time"


@pytest.fixture(autouse=True)
def _forgetting() -> Iterator[None]:
    interruption.forget()
    yield
    interruption.forget()


def work(file: Path, number: signal.Signals, *, stores: bool = False) -> None:
    """A start that stores something or nothing before a signal comes."""
    with counted(file, Path("run")):
        if stores:
            progressed()
        interruption.request(number)


def stopped(file: Path, number: signal.Signals = signal.SIGTERM, *, stores: bool = False) -> tuple[int, str]:
    """The exit code and sentence of a start that a signal ends."""
    interruption.forget()
    with pytest.raises(Stopped) as caught:
        work(file, number, stores=stores)
    return caught.value.exit_code, str(caught.value)


def killed(file: Path) -> None:
    """What a start leaves behind that had no time for anything."""
    count = int(file.read_text()) if file.exists() else 0
    file.write_text(f"{count + 1}\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".starts"


def test_the_second_start_in_vain_ends_with_another_exit_code(file: Path) -> None:
    assert stopped(file)[0] == 75
    assert stopped(file) == (3, ENOUGH)
    assert stopped(file)[0] == 75, "with more time it is tried again"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP])
def test_each_signal_of_a_batch_system_counts(file: Path, number: signal.Signals) -> None:
    assert [stopped(file, number)[0] for _ in range(2)] == [75, 3]


def test_what_is_stored_counts(file: Path) -> None:
    assert [stopped(file, stores=turn > 0)[0] for turn in range(4)] == [75, 75, 75, 75]
    assert not file.exists()
    assert [stopped(file)[0] for _ in range(2)] == [75, 3]


def test_a_person_may_change_his_mind_as_often_as_he_likes(file: Path) -> None:
    assert [stopped(file, signal.SIGINT)[0] for _ in range(3)] == [130, 130, 130]
    assert not file.exists()


def test_starts_that_were_killed_count_too(file: Path) -> None:
    killed(file)
    killed(file)
    with pytest.raises(NoProgressError, match=ENOUGH), counted(file, Path("run")):
        raise AssertionError("must not begin")
    assert not file.exists()


def test_an_end_and_an_error_are_no_slices(file: Path) -> None:
    killed(file)
    with counted(file, Path("run")):
        pass
    assert not file.exists()
    killed(file)
    with pytest.raises(DataError), counted(file, Path("run")):
        raise DataError("no data")
    assert not file.exists()


def test_only_the_outermost_is_counted(file: Path) -> None:
    inner = file.with_name("inner")
    with pytest.raises(Stopped), counted(file, Path("run")):
        work(inner, signal.SIGTERM)
    assert file.exists()
    assert not inner.exists()


def test_a_damaged_count_is_none(file: Path) -> None:
    file.write_text("")
    assert stopped(file)[0] == 75
