"""The file that tasks of `predict --shard` write together: agreed on, shared, continued, joined, refused."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bccli.core import interruption
from bccli.core.errors import BccliError, DataError, LockedError, SettingsError, Stopped
from bccli.core.prediction.image_names import ImageNames
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.output_file import OutputFile
from bccli.core.prediction.question import Question
from bccli.core.prediction.shared_blocks import Blocks
from bccli.core.prediction.shared_output import SharedOutput
from bccli.core.prediction.shared_plan import SharedPlan
from bccli.core.progress import Watcher
from bccli.core.runs.claims import Claims
from bccli.core.runs.locks import locked
from bccli.core.runs.shard import Shard

NAMES = [f"{number}.png" for number in range(19)]
QUESTION = Question(("abc",), {"top": None, "format": "csv", "mask_dir": "pr\udce4parate"})
STEP = 2
BLOCKS = 10


@pytest.fixture(autouse=True)
def _forgetting() -> Iterator[None]:
    interruption.forget()
    yield
    interruption.forget()


class Notes(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said = ""

    def note(self, text: str) -> None:
        self.said += f"{text}\n"


class Task:
    """One start of `predict --output`, of a shard or of none: `asked` are the images that it answered for."""

    def __init__(self, folder: Path, shard: Shard | None = None, **changes: Any) -> None:
        settings = {"question": QUESTION, "step": STEP, **changes}
        self.file, self.notes, self.asked = (
            OutputFile(folder / "labels.csv", **settings),
            Notes(),
            list[str](),
        )
        self.shared = SharedOutput(self.file, shard, self.notes)
        self.each: Callable[[str], object] = lambda name: None

    def run(self, names: Iterable[str] = NAMES) -> int | None:
        """The number of errors, where the file is complete or was written by this task."""
        if (errors := self.shared.errors_if_complete(iter(names))) is not None:
            return errors
        with self.shared.held():
            self.shared.look(names)
            return self.shared.work(self.answers, self.write)

    def answers(self, names: Iterable[str]) -> Iterator[ImageRows]:
        for name in names:
            self.asked.append(name)
            self.each(name)
            yield ImageRows(name, ({"path": name, "error": None if int(name[:-4]) % 5 else "bad"},))

    def write(self, entries: Iterable[ImageRows]) -> int:
        rows = [row for entry in entries for row in entry.rows]
        self.file.path.write_text("".join(f"{row['path']} {row['error']}\n" for row in rows))
        return sum(bool(row["error"]) for row in rows)


def whole(folder: Path) -> dict[str, bytes]:
    """What a command without --shard makes."""
    folder.mkdir()
    task = Task(folder)
    with task.file.held():
        task.file.look(NAMES)
        task.file.work(task.answers, task.write)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    return whole(tmp_path / "whole")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def parts(out: Path) -> Path:
    return out / "labels.csv.parts"


def stop(task: Task, after: int) -> None:
    """Run a task until a signal comes behind so many images."""
    interruption.forget()
    task.each = lambda name: interruption.request(signal.SIGTERM) if len(task.asked) > after else None
    with pytest.raises(Stopped):
        task.run()
    interruption.forget()


def begun(out: Path, after: int = 7) -> Task:
    """A task that was stopped behind so many images."""
    stop(task := Task(out, Shard(1, 1)), after)
    return task


def refuses(task: Task, *words: str, names: Iterable[str] = NAMES) -> None:
    with pytest.raises(BccliError) as caught:
        task.run(names)
    assert not task.asked
    for word in words:
        assert word in str(caught.value)


# Together


@pytest.mark.parametrize("shard", [Shard(1, 1), Shard(3, 3), Shard(2, 9), None])
def test_whoever_is_alone_makes_all_of_it(expected: dict[str, bytes], out: Path, shard: Shard | None) -> None:
    if shard is None:
        begun(out)
    assert Task(out, shard).run() == 4
    assert content(out) == expected
    for again in (Task(out, shard), Task(out, Shard(1, 2))):
        assert again.run() == 4
        assert not again.asked
    assert content(out) == expected


@pytest.fixture(params=[True, False], ids=["locks", "no locks"])
def _locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    """Locks, or a file system without, where whoever looks at a claim long enough sees it beat."""
    if request.param:
        return

    def unknown(stream: object, **options: object) -> bool:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def beat(seconds: float) -> None:
        for path in parts(out).glob("*.claim*"):
            os.utime(path, (path.stat().st_mtime + 1,) * 2)

    monkeypatch.setattr("bccli.core.runs.claims.try_to_lock", unknown)
    monkeypatch.setattr("bccli.core.runs.locks.try_to_lock", unknown)
    monkeypatch.setattr("bccli.core.runs.claims.time.sleep", beat)


@pytest.mark.usefixtures("_locks")
def test_the_last_to_end_joins(expected: dict[str, bytes], out: Path) -> None:
    """The second task begins and ends while the first one is in the midst of a block."""
    first, second, third = (Task(out, Shard(number, 3)) for number in (1, 2, 3))
    first.each = lambda name: second.run() if name == "12.png" else None
    assert first.run() == 4
    assert second.notes.said.splitlines()[-1].startswith("shard 2/3 is done; the rest is left to process")
    assert sorted(first.asked + second.asked, key=NAMES.index) == NAMES
    assert content(out) == expected
    assert third.run() == 4
    assert third.asked == []


def test_own_blocks_come_first(out: Path) -> None:
    task = Task(out, Shard(2, 2))
    task.run()
    numbers = [NAMES.index(name) // STEP for name in task.asked[::2]]
    assert numbers == [*range(1, BLOCKS, 2), *range(0, BLOCKS, 2)]


@pytest.mark.parametrize("after", range(0, 19, 3))
def test_what_is_unfinished_goes_on_behind_the_last_whole_step(
    expected: dict[str, bytes], out: Path, after: int
) -> None:
    """Blocks have two steps of an image each."""
    assert SharedPlan.of(QUESTION, 1, ImageNames(NAMES), 1).steps == 2
    stop(Task(out, Shard(1, 1), step=1), after)
    task = Task(out, Shard(2, 2), step=1)
    task.run()
    assert task.shared.answered == after // 2 * 2
    assert len(task.asked) == len(NAMES) - after
    assert content(out) == expected


def test_joining_is_left_to_whoever_does_it(out: Path) -> None:
    task, other = Task(out, Shard(1, 2)), Task(out, Shard(2, 2))
    write = task.write

    def meanwhile(entries: Iterable[ImageRows]) -> int:
        assert other.run() is None
        return write(entries)

    task.write = meanwhile  # type: ignore[method-assign]
    assert task.run() == 4
    assert other.notes.said.startswith("shard 2/2 is done; the rest is left to process")
    assert not other.asked


def test_a_task_that_only_seemed_to_be_dead_harms_nobody(
    expected: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heir makes its block and joins all, while it is in the midst of that block."""
    task, heir = Task(out, Shard(1, 1)), Task(out, Shard(1, 1))

    def inherit(name: str) -> None:
        if name == "13.png":
            with monkeypatch.context() as patch:
                patch.setattr(Claims, "_look", lambda claims, path: None)
                assert heir.run() == 4

    task.each = inherit
    assert task.run() is None
    assert "labels.csv: was written by another task" in task.notes.said
    assert content(out) == expected


def test_a_straggler_leaves_no_folder(expected: dict[str, bytes], out: Path) -> None:
    task = Task(out, Shard(1, 1))
    assert task.shared.errors_if_complete(NAMES) is None
    Task(out, Shard(1, 1)).run()
    parts(out).mkdir()  # as a claim makes it
    with task.shared.held():
        assert task.shared.work(task.answers, task.write) is None
    assert content(out) == expected


# Whoever collects


def test_a_collector_respects_the_living(expected: dict[str, bytes], out: Path) -> None:
    begun(out)
    with (
        Claims(parts(out), "2/3").taken("000005"),
        pytest.raises(LockedError, match=r"labels\.csv: process \d+ on .*shard 2/3"),
    ):
        Task(out).run()
    task = Task(out)
    assert task.run() == 4
    assert task.shared.answered == 6
    assert content(out) == expected


def test_a_collector_whom_others_join_says_who_has_the_rest(out: Path) -> None:
    begun(out)
    task, claims = Task(out), Claims(parts(out), "2/3")
    other = claims.taken("000009")
    task.each = lambda name: other.__enter__() if name == "8.png" else None
    with pytest.raises(LockedError, match="shard 2/3"):
        task.run()
    other.__exit__(None, None, None)
    assert not (out / "labels.csv").exists()


def test_a_collector_may_replace_what_others_began(out: Path) -> None:
    begun(out)
    other = Question(("abd",), QUESTION.options)
    refuses(Task(out, question=other), "another run")
    task = Task(out, question=other, overwrite=True)
    assert task.run() == 4
    assert task.asked == NAMES
    assert set(content(out)) == {"labels.csv", ".labels.csv.made"}


# What does not fit


OTHER = Question(("abd",), QUESTION.options)


def overwriting(out: Path) -> Task:
    """A command that replaces what others began, and whose answers are other ones."""
    task = Task(out, question=OTHER, overwrite=True)
    answers = task.answers
    task.answers = lambda names: (  # type: ignore[method-assign]
        ImageRows(entry.path, ({**entry.rows[0], "error": "other"},)) for entry in answers(names)
    )
    return task


def test_a_task_that_wakes_up_among_other_answers_leaves_them_alone(out: Path) -> None:
    """It was asleep for so long that it counted as dead, and somebody has begun with another question."""
    sleeper, task = Task(out, Shard(1, 1)), overwriting(out)
    assert sleeper.shared.errors_if_complete(NAMES) is None

    def wake(name: str) -> None:
        if len(task.asked) == 1:
            with pytest.raises(DataError, match="was removed in the meantime; run the same command again"):
                sleeper.shared.work(sleeper.answers, sleeper.write)

    task.each = wake
    assert task.run() == len(NAMES)
    assert not sleeper.asked
    assert content(out)["labels.csv"] == "".join(f"{name} other\n" for name in NAMES).encode()


def test_a_task_that_wakes_up_beside_the_file_of_another_question_says_so(out: Path) -> None:
    sleeper = Task(out, Shard(1, 1))
    assert sleeper.shared.errors_if_complete(NAMES) is None
    overwriting(out).run()
    with pytest.raises(DataError, match="was removed in the meantime; run the same command again"):
        sleeper.shared.work(sleeper.answers, sleeper.write)
    refuses(sleeper, "labels.csv: was made with another run")


@pytest.mark.usefixtures("_locks")
def test_a_block_that_answers_something_else_is_made_again(out: Path) -> None:
    sleeper, task = Task(out, Shard(1, 1)), overwriting(out)
    assert sleeper.shared.errors_if_complete(NAMES) is None

    def wake(name: str) -> None:
        if len(task.asked) == 1:
            sleeper.shared._blocks.answer(5, sleeper.answers)

    task.each = wake
    assert task.run() == len(NAMES)
    assert sleeper.asked
    assert content(out)["labels.csv"] == "".join(f"{name} other\n" for name in NAMES).encode()


def test_a_damaged_block_is_made_again(expected: dict[str, bytes], out: Path) -> None:
    begun(out)
    for number, harm in enumerate((b"", b"\0" * 50, b'{"runs": ["abc"], "options"')):
        (parts(out) / f"{number:06}.rows").write_bytes(harm)
    task = Task(out, Shard(1, 1))
    assert task.run() == 4
    assert set(task.asked) >= set(NAMES[:6])
    assert content(out) == expected


def test_half_a_block_is_made_again_from_there(expected: dict[str, bytes], out: Path) -> None:
    begun(out)
    done = parts(out) / "000001.rows"
    done.write_bytes(done.read_bytes()[:-9])
    task = Task(out, Shard(1, 1))
    task.run()
    assert sorted(task.asked, key=NAMES.index) == [*NAMES[2:4], *NAMES[6:]]
    assert content(out) == expected


def test_blocks_that_never_fit_are_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "fits", lambda blocks, number, *, sizes: number != 3)
    with pytest.raises(DataError, match=r"000003\.rows: is damaged; remove it and run the same command"):
        Task(out, Shard(1, 1)).run()


def test_an_image_that_has_changed_is_answered_again(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun(out)
    Path("3.png").write_bytes(b"there now")
    task = Task(out, Shard(1, 1))
    assert task.run() == 4
    assert sorted(task.asked, key=NAMES.index) == [*NAMES[2:4], *NAMES[6:]]
    assert Task(out, Shard(1, 2)).run() == 4
    Path("3.png").write_bytes(b"and mended")
    refuses(Task(out, Shard(1, 2)), "have changed since; remove it or choose another file")


@pytest.mark.parametrize(
    ("changes", "names", "words"),
    [
        ({"question": Question(("abd",), QUESTION.options)}, NAMES, "begun with another run"),
        ({"question": Question(("abc",), {**QUESTION.options, "top": 2})}, NAMES, "top none, now 2"),
        ({"step": 3}, NAMES, "batch-size 2, now 3"),
        ({}, NAMES[:-1], "19 images, now 18"),
        ({}, [*NAMES[1:], NAMES[0]], "other images, or the same in another order"),
        ({}, [*NAMES[:-1], "99.png"], "other images, or the same in another order"),
    ],
)
@pytest.mark.parametrize("shard", [Shard(2, 2), None])
def test_tasks_that_do_not_agree_are_refused(
    out: Path, changes: dict[str, Any], names: list[str], words: str, shard: Shard | None
) -> None:
    begun(out)
    before = content(parts(out))
    refuses(Task(out, shard, **changes), "labels.csv.parts: was begun with", words, names=names)
    assert content(parts(out)) == before
    assert not (out / ".labels.csv.lock").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.txt", b"mine"),
        ("000001.rows", b""),
        ("plan.json", b"{}"),
        ("plan.json", b'{"runs": []'),
        ("plan.json", b"\xff\xfe"),
    ],
)
def test_a_folder_of_somebody_else_is_refused(out: Path, name: str, text: bytes) -> None:
    parts(out).mkdir()
    (parts(out) / name).write_bytes(text)
    refuses(Task(out, Shard(1, 2)), "labels.csv.parts: was not made by bccli predict", "remove it")
    assert content(parts(out)) == {name: text}


def test_a_file_where_the_folder_would_be_is_an_error_of_the_machine(out: Path) -> None:
    parts(out).write_text("mine")
    with pytest.raises(NotADirectoryError):
        Task(out, Shard(1, 2)).run()
    assert parts(out).read_text() == "mine"


def test_what_one_command_has_begun_is_its_own(expected: dict[str, bytes], out: Path) -> None:
    alone = Task(out)
    with alone.file.held():
        refused_meanwhile = Task(out, Shard(1, 2))
        refuses(refused_meanwhile, "is working here")
        alone.file.look(NAMES)
        alone.file.part.append(alone.answers(NAMES[:4]))
    refuses(Task(out, Shard(1, 2)), "labels.csv.part: was begun without --shard", "without --shard")
    with alone.file.held():
        alone.file.look(NAMES)
        alone.file.work(alone.answers, alone.write)
    assert content(out) == expected


def test_what_tasks_have_begun_is_not_begun_by_another_command(out: Path) -> None:
    """Which found no plan when it looked."""
    begun(out)
    with pytest.raises(LockedError, match="begun just now"), Task(out).file.held():
        raise AssertionError("must not be let in")


def test_parts_that_vanish_are_an_error(out: Path) -> None:
    task = Task(out, Shard(1, 1))
    task.each = lambda name: parts(out).rename(out / "elsewhere") if name == "7.png" else None
    with pytest.raises(DataError, match=r"labels\.csv\.parts: was removed in the meantime"):
        task.run()
    assert set(content(out)) == {"elsewhere"}


# Ends at any moment


@pytest.mark.parametrize("moment", ["plan", "joined", "put away"])
def test_a_kill_between_two_steps_of_the_end(
    expected: dict[str, bytes], out: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim without a plan; a file whose parts are still there; parts that were being removed."""
    if moment == "plan":
        parts(out).mkdir()
        (parts(out) / "plan.claim0").write_text("")
        os.utime(parts(out) / "plan.claim0", (1, 1))
    else:
        joined, first = moment == "joined", Task(out, Shard(1, 1))
        with monkeypatch.context() as patch:
            patch.setattr(SharedOutput, "_put_away" if joined else "_clear", killed)
            with pytest.raises(KeyboardInterrupt):
                first.run()
        assert (parts(out) if joined else out / ".labels.csv.parts.old").is_dir()
    task = Task(out, Shard(2, 2))
    assert task.run() == 4
    assert bool(task.asked) == (moment == "plan")
    assert content(out) == expected


def killed(shared: SharedOutput) -> None:
    raise KeyboardInterrupt


def test_starts_without_an_image_are_noticed_for_each_share(out: Path) -> None:
    codes = []
    for number in (1, 2, 1, 2):
        interruption.forget()
        task = Task(out, Shard(number, 2))
        task.each = lambda name: interruption.request(signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            task.run()
        codes.append(caught.value.exit_code)
    assert codes == [75, 75, 3, 3]


def test_planning_waits_for_another_task(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which writes the plan at last; where no lock is known, its claim is what keeps us out."""
    claim = Claims(parts(out), "1/2").taken("plan")
    claim.__enter__()
    monkeypatch.setattr(
        "bccli.core.prediction.shared_output.time.sleep", lambda _: claim.__exit__(None, None, None)
    )
    assert Task(out, Shard(2, 2)).run() == 4


@pytest.mark.parametrize("named", [True, False])
def test_the_lock_of_a_plan_is_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Also where its holder has not yet said who it is."""
    lock = locked(out, file=out / ".labels.csv.lock", shard="1/2")
    lock.__enter__()
    if not named:
        os.truncate(out / ".labels.csv.lock", 0)
    monkeypatch.setattr("bccli.core.runs.locks.time.sleep", lambda _: lock.__exit__(None, None, None))
    assert Task(out, Shard(2, 2)).run() == 4


def test_a_plan_that_is_joined_as_we_look_means_complete(
    expected: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(out)
    exists = SharedOutput._known

    def joined(shared: SharedOutput) -> dict[str, Any] | None:
        if parts(out).exists() and shared is not other.shared:
            assert other.run() == 4
        return exists(shared)

    task, other = Task(out, Shard(1, 2)), Task(out, Shard(2, 2))
    other.file.lock = other.shared.file.lock = out / "other.lock"  # as where no locks are known
    monkeypatch.setattr(SharedOutput, "_known", joined)
    assert task.run() == 4
    assert not task.asked
    assert content(out) == expected


# The pieces


def test_names_are_had_again_in_any_stretch() -> None:
    names = ["a.png", "pr\udce4parat\n.png", "ü", *(f"{number}" for number in range(2500))]
    kept = ImageNames(iter(names))
    assert list(kept) == names
    assert kept.between(1, 2) == names[1:2]
    assert kept.between(2490, 9999) == names[2490:]
    assert kept.facts() == ImageNames(names).facts() != ImageNames(names[1:]).facts()
    assert list(ImageNames([])) == []


@pytest.mark.parametrize(
    ("images", "tasks", "steps"),
    [(1, 1, 1), (64, 1, 1), (10_000, 4, 39), (300_000, 8, 64), (300_000, 4000, 1)],
)
def test_blocks_are_neither_too_many_nor_too_large(images: int, tasks: int, steps: int) -> None:
    plan = SharedPlan.of(QUESTION, 8, ImageNames(map(str, range(images))), tasks)
    assert plan.steps == steps
    assert json.loads(json.dumps(plan.to_json()))["images"]["count"] == images


def test_refusals_are_of_settings(out: Path) -> None:
    begun(out)
    with pytest.raises(SettingsError):
        Task(out, Shard(1, 1), step=5).run()
