"""The file that `predict --output` writes: continued where it is unfinished, left alone where it is complete.

Rows are kept as they come in FILE.part, a line of JSON for each image behind one that says what was asked
for; at the end FILE is written whole in its format, and a hidden file beside it says what it was made of.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from bccli.core.data.dataset import first_difference
from bccli.core.errors import SettingsError
from bccli.core.files import file_hash, write_json, write_text
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.runs.locks import locked
from bccli.core.runs.run_folder import RUN_FILE
from bccli.core.runs.starts import counted, progressed


@dataclass(frozen=True)
class Question:
    """What rows depend on besides their images: the content of the runs, and options by their names."""

    runs: tuple[str, ...]
    options: Mapping[str, Any]

    @classmethod
    def about(cls, roots: Iterable[Path], **options: Any) -> "Question":
        """The question to some runs, which may lie in any place."""
        return cls(tuple(map(_hash_of_run, roots)), options)

    def to_json(self) -> dict[str, Any]:
        """As files have it."""
        return {"runs": list(self.runs), "options": dict(self.options)}

    def differs_from(self, other: Mapping[str, Any]) -> str:
        """In what it differs from one of a file, in words; empty where it is the same."""
        if other.get("runs") != list(self.runs):
            return "another run, or one that has changed since"
        return first_difference(other.get("options", {}), dict(self.options))


def _hash_of_run(root: Path) -> str:
    """What a run and its members say of themselves, in which the hash of each of their files is."""
    inner = sorted(root.glob(f"*/{RUN_FILE}"))
    return hashlib.sha256("".join(map(file_hash, [root / RUN_FILE, *inner])).encode()).hexdigest()


@dataclass
class OutputFile:
    """An output file and what is asked for; `overwrite` lets it replace what is there.

    Answers are given to so many images in a `step`, and stored rows end where a step does, so that the rest
    comes out as if nobody had interrupted it.
    """

    path: Path
    question: Question
    step: int = 1
    overwrite: bool = False
    answered: int = 0
    _offset: int = field(default=0, repr=False)

    @property
    def unfinished(self) -> Path:
        """The rows of what is unfinished."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def made(self) -> Path:
        """What the complete file was made of."""
        return self.path.with_name(f".{self.path.name}.made")

    def errors_if_complete(self, images: Iterable[str]) -> int | None:
        """How many images have an error, where the file has all these answers; else None.

        Raises SettingsError where the file holds something else and is not to be replaced.
        """
        if self.overwrite or self.unfinished.exists() or not self.path.exists():
            return None
        made = _read_json(self.made.read_text("utf-8")) if self.made.is_file() else {}
        if made.get("sha256") != file_hash(self.path):
            raise self._refusal("was not made by bccli predict, or has changed since")
        if difference := self.question.differs_from(made):
            raise self._refusal(f"was made with {difference}")
        if made.get("images") != _digest((name, _size_of(name)) for name in images):
            raise self._refusal("has the answers for other images, or some of them have changed since")
        return int(made["errors"])

    def _refusal(self, why: str) -> SettingsError:
        return SettingsError(f"{self.path}: {why}; choose another file or pass --overwrite")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Work on the file alone. Raises LockedError, and NoProgressError after starts in vain."""
        beside = f".{self.path.name}"
        starts = self.path.with_name(f"{beside}.starts")
        with locked(self.path, file=self.path.with_name(f"{beside}.lock")), counted(starts, self.path):
            try:
                yield
            finally:
                if self._begun() and next(self.entries(), None) is None:
                    self.unfinished.unlink()

    def rest(self, images: Iterable[str]) -> Iterator[str]:
        """The images that have no rows yet, and `answered` is how many have some. What is asked for is noted.

        Raises SettingsError where the unfinished file has other answers and is not to be replaced.
        """
        names = iter(images)
        if not self.unfinished.exists() or not self._is_ours():
            write_text(self.unfinished, json.dumps(self.question.to_json()) + "\n")
        with self._open("r") as stream:
            again = self._skip(stream, names)
        with self.unfinished.open("r+b") as content:
            content.truncate(self._offset)
        return chain(again, names)

    def _is_ours(self) -> bool:
        """Whether what is unfinished answers the same question; something else may be replaced."""
        known = self._begun()
        difference = self.question.differs_from(known)
        if difference and not self.overwrite:
            why = f"was begun with {difference}" if known else "was not made by bccli predict"
            raise SettingsError(
                f"{self.unfinished}: {why}; remove it, choose another file or pass --overwrite"
            )
        return not difference

    def _begun(self) -> dict[str, Any]:
        """What the unfinished file answers; empty where there is none, or it is somebody else's."""
        if not self.unfinished.is_file():
            return {}
        with self._open("r") as stream:
            known = _read_json(stream.readline())
        return known if "runs" in known else {}

    def _open(self, mode: str) -> IO[str]:
        return self.unfinished.open(mode, encoding="utf-8", errors="replace", newline="")

    def _skip(self, stream: IO[str], names: Iterator[str]) -> list[str]:
        """Pass over the images that have rows; returns those behind the last whole step."""
        self.answered, self._offset = 0, len(stream.readline().encode())
        again: list[str] = []
        offset = self._offset
        for line in iter(stream.readline, ""):
            try:
                entry = ImageRows.from_line(line)
            except (ValueError, TypeError):
                break  # it was being written
            name = next(names, None)
            if name != entry.path:
                raise SettingsError(
                    f"{self.unfinished}: has the rows of other images ({entry.path} where there is now "
                    f"{name or 'none'}); remove it or choose another file"
                )
            again.append(name)
            if _size_of(name) != entry.size:
                break  # the image has changed since
            offset += len(line.encode())
            if len(again) == self.step:
                self.answered, self._offset = self.answered + len(again), offset
                again.clear()
        return again

    def append(self, images: Iterable[ImageRows]) -> int:
        """Append the rows of images as they come, each whole; returns how many rows there were."""
        rows = 0
        try:
            with self._open("a") as stream:
                for entry in images:
                    stream.write(replace(entry, size=_size_of(entry.path)).to_line())
                    stream.flush()
                    progressed()
                    rows += len(entry.rows)
        except OSError as error:
            error.filename = error.filename or str(self.unfinished)
            raise
        return rows

    def entries(self) -> Iterator[ImageRows]:
        """All images with their rows."""
        with self._open("r") as stream:
            stream.readline()
            for line in stream:
                with suppress(ValueError, TypeError):  # half a line, where this start was killed
                    yield ImageRows.from_line(line)

    def finish(self, write: Callable[[], int]) -> None:
        """Have the file written, which gives the number of errors, and say what it was made of."""
        errors = write()
        facts = {"errors": errors, "sha256": file_hash(self.path)}
        images = _digest((entry.path, entry.size) for entry in self.entries())
        write_json(self.made, {**self.question.to_json(), "images": images, **facts})
        self.unfinished.unlink()


def _size_of(name: str) -> int:
    """The size of a file, -1 where there is none."""
    try:
        return os.stat(name).st_size
    except (OSError, ValueError):
        return -1


def _digest(images: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The number of images, and a hash of their names and sizes in their order."""
    digest, count = hashlib.sha256(), 0
    for name, size in images:
        digest.update(name.encode("utf-8", "surrogateescape") + f"\0{size}\0".encode())
        count += 1
    return {"count": count, "sha256": digest.hexdigest()}


def _read_json(text: str) -> dict[str, Any]:
    """A JSON object, empty for what is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
