"""The file of `predict --output`: what is kept of it, continued, recognised or refused."""

import json
import random
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bccli.core import files, interruption
from bccli.core.errors import LockedError, SettingsError, Stopped
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.output_file import OutputFile
from bccli.core.prediction.question import Question
from bccli.core.runs.locks import locked

NAMES = [f"{number}.png" for number in range(10)]
QUESTION = Question(("abc",), {"top": None, "format": "csv", "mask_dir": "pr\udce4parate"})


@pytest.fixture(autouse=True)
def _forgetting() -> Iterator[None]:
    interruption.forget()
    yield
    interruption.forget()


@pytest.fixture
def file(tmp_path: Path) -> OutputFile:
    return OutputFile(tmp_path / "labels.csv", QUESTION, step=3)


def rows(names: Sequence[str]) -> Iterator[ImageRows]:
    """Two rows for each image; one name is not UTF-8."""
    for name in names:
        yield ImageRows(
            name, ({"path": name, "p": 0.1}, {"path": name, "p": None}), "blank" * (name == "2.png")
        )


def stopping(names: Sequence[str], after: int) -> Iterator[ImageRows]:
    """Rows until a signal comes."""
    yield from rows(names[:after])
    interruption.request(signal.SIGTERM)


def answer(file: OutputFile, *, stop_after: int | None = None) -> list[str]:
    """What one start of `predict` does; returns the images that it answers for."""
    with file.held():
        file.look(iter(NAMES))
        asked: list[str] = []

        def answers(rest: Iterable[str]) -> Iterator[ImageRows]:
            asked.extend(rest)
            return rows(asked) if stop_after is None else stopping(asked, stop_after)

        file.work(answers, partial(write, file))
    return asked


def write(file: OutputFile, entries: Iterable[ImageRows]) -> int:
    file.path.write_text("".join(f"{row['path']} {row['p']}\n" for entry in entries for row in entry.rows))
    return 2


def begin(file: OutputFile) -> None:
    """What a start does before its first answer."""
    if file.errors_if_complete(NAMES) is None:
        list(file.part.rest(NAMES))


def answer_and_stop(file: OutputFile) -> None:
    """A start that ends between the file and what it says of it."""
    with file.held():
        file.part.append(rows(list(file.part.rest(NAMES))))
        file.path.write_text("whole")
        interruption.request(signal.SIGTERM)


def stopped(file: OutputFile, after: int) -> None:
    interruption.forget()
    with pytest.raises(Stopped):
        answer(file, stop_after=after)
    interruption.forget()


def beside(file: OutputFile) -> set[str]:
    return {path.name for path in file.path.parent.iterdir()}


def test_what_is_complete_is_recognised(file: OutputFile) -> None:
    assert answer(file) == NAMES
    assert beside(file) == {"labels.csv", ".labels.csv.made"}
    assert file.errors_if_complete(NAMES) == 2
    assert replace(file, overwrite=True).errors_if_complete(NAMES) is None


@pytest.mark.parametrize(("after", "answered"), [(0, 0), (1, 0), (3, 3), (5, 3), (9, 9)])
def test_what_is_unfinished_goes_on_behind_the_last_whole_step(
    file: OutputFile, tmp_path: Path, after: int, answered: int
) -> None:
    stopped(file, after)
    assert not file.path.exists()
    assert file.unfinished.exists() == (after > 0)
    assert file.errors_if_complete(NAMES) is None
    again = replace(file, overwrite=after == 5)  # so that a requeued job never starts over
    assert answer(again) == NAMES[answered:]
    assert again.answered == answered
    whole = replace(file, path=tmp_path / "whole.csv")
    answer(whole)
    assert file.path.read_text() == whole.path.read_text()


def test_whatever_of_a_line_is_there_after_a_kill(file: OutputFile, tmp_path: Path) -> None:
    """Cut anywhere, and with what a file system may leave behind a cut."""
    stopped(file, 8)
    content, rng = file.unfinished.read_bytes(), random.Random(0)
    header = len(json.dumps(QUESTION.to_json())) + 1
    whole = replace(file, path=tmp_path / "whole.csv")
    answer(whole)
    for _ in range(40):
        cut = rng.randint(header, len(content))
        file.unfinished.write_bytes(content[:cut] + rng.choice([b"", b"\0" * 5, b"\xff\n", b"[1, 2]\n"]))
        answer(file)
        assert file.path.read_text() == whole.path.read_text()
        file.path.unlink()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([*NAMES[:2], "new.png", *NAMES[2:]], "other images (2.png where there is now new.png)"),
        (NAMES[:2], "other images (2.png where there is now none)"),
    ],
)
def test_rows_of_other_images_are_refused(file: OutputFile, images: list[str], words: str) -> None:
    stopped(file, 6)
    with pytest.raises(SettingsError) as caught, file.held():
        list(file.part.rest(images))
    assert words in str(caught.value)
    assert len(list(file.part.entries())) == 6


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (replace(QUESTION, runs=("abd",)), "another run, or one that has changed since"),
        (replace(QUESTION, options={**QUESTION.options, "top": 2}), "top none, now 2"),
        (replace(QUESTION, options={**QUESTION.options, "format": "json"}), "format csv, now json"),
    ],
)
@pytest.mark.parametrize("complete", [False, True])
def test_answers_to_another_question_are_refused_or_replaced(
    file: OutputFile, question: Question, words: str, complete: bool
) -> None:
    if complete:
        answer(file)
    else:
        stopped(file, 6)
    other = replace(file, question=question)
    with pytest.raises(SettingsError) as caught:
        begin(other)
    assert words in str(caught.value)
    assert "--overwrite" in str(caught.value)
    overwriting = replace(other, overwrite=True)
    assert overwriting.errors_if_complete(NAMES) is None
    assert answer(overwriting) == NAMES
    assert other.errors_if_complete(NAMES) == 2


@pytest.mark.parametrize("change", ["other images", "edited", "damaged", "no number", "not ours"])
def test_a_complete_file_with_another_content_is_refused(file: OutputFile, change: str) -> None:
    answer(file)
    images = NAMES
    if change == "other images":
        images = NAMES[:-1]
    elif change == "damaged":
        file.made.write_bytes(b"\xff")
    elif change == "no number":
        file.made.write_bytes(re.sub(rb'"errors": \d+', b'"errors": {}', file.made.read_bytes()))
    elif change == "edited":
        file.path.write_text(file.path.read_text() + "\n")
    else:
        file.made.unlink()
    before = file.path.read_text()
    with pytest.raises(SettingsError, match=r"labels\.csv: .*choose another file or pass --overwrite"):
        file.errors_if_complete(images)
    assert file.path.read_text() == before


def test_an_image_that_has_changed_is_answered_again(
    file: OutputFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stopped(file, 9)
    Path("4.png").write_bytes(b"there now")
    assert answer(file) == NAMES[3:]
    assert file.errors_if_complete(NAMES) == 2
    Path("4.png").write_bytes(b"and mended")
    with pytest.raises(SettingsError, match=r"or some of them have changed since.*--overwrite"):
        file.errors_if_complete(NAMES)


@pytest.mark.parametrize(
    "content", ["", "path,label\n", "[]\n", "{}\n", "my notes\nof today", '{"runs": ["abc"]']
)
def test_a_part_of_somebody_else_is_refused(file: OutputFile, content: str) -> None:
    file.unfinished.write_text(content)
    with pytest.raises(SettingsError, match=r"labels\.csv\.part: was not made by bccli predict"), file.held():
        list(file.part.rest(NAMES))
    assert file.unfinished.read_text() == content


def test_a_kill_between_the_file_and_what_it_was_made_of(file: OutputFile) -> None:
    with pytest.raises(Stopped):
        answer_and_stop(file)
    assert file.errors_if_complete(NAMES) is None
    assert answer(file) == NAMES[9:]
    assert beside(file) == {"labels.csv", ".labels.csv.made"}


def test_the_lock_of_a_process_that_was_killed_as_it_ended_goes(file: OutputFile) -> None:
    answer(file)
    file.lock.touch()
    with locked(file.path, file=file.lock):
        file.errors_if_complete(NAMES)
        assert file.lock.exists()
    file.lock.touch()
    assert file.errors_if_complete(NAMES) == 2
    assert beside(file) == {"labels.csv", ".labels.csv.made"}


def test_what_kills_left_half_written_is_removed(file: OutputFile, tmp_path: Path) -> None:
    own = files._node() << 48
    left = (
        f".labels.csv.{own | 12}.tmp",
        f"..labels.csv.made.{own | 345}.tmp",
        f"..labels.csv.starts.{own | 6}.tmp",
    )
    others = {
        ".labels.csv.gz.12.tmp",
        ".mylabels.csv.12.tmp",
        ".labels.csv.x.tmp",
        "..mylabels.csv.made.1.tmp",
    }
    for name in (*left, *others):
        (tmp_path / name).touch()
    answer(file)
    assert beside(file) == {"labels.csv", ".labels.csv.made", *others}


def test_two_processes_do_not_write_one_file(file: OutputFile, tmp_path: Path) -> None:
    with file.held():
        lock = tmp_path / ".labels.csv.lock"
        with pytest.raises(LockedError, match=r"labels\.csv: process"), locked(file.path, file=lock):
            raise AssertionError("must not be let in")


def test_starts_without_an_image_are_noticed(file: OutputFile) -> None:
    codes = []
    for _ in range(2):
        interruption.forget()
        with pytest.raises(Stopped) as caught:
            answer(file, stop_after=0)
        codes.append(caught.value.exit_code)
    assert codes == [75, 3]
    assert not beside(file)


def test_names_that_are_not_utf8_are_kept(file: OutputFile) -> None:
    entry = ImageRows("pr\udce4parat\n.png", ({"path": "pr\udce4parat\n.png"},))
    assert ImageRows.from_line(entry.to_line()) == entry
    assert entry.to_line().count("\n") == 1


@pytest.mark.parametrize("inner", [(), ("fold-0", "fold-1")])
def test_a_run_is_known_by_its_content_wherever_it_lies(tmp_path: Path, inner: tuple[str, ...]) -> None:
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        for folder in (tmp_path / name, *(tmp_path / name / one for one in inner)):
            folder.mkdir()
            seen = seed if folder.parent != tmp_path or not inner else 0
            (folder / "run.json").write_text(json.dumps({"seed": seen}))
        hashes.append(Question.about([tmp_path / name]).runs)
    assert hashes[0] == hashes[1] != hashes[2]
