"""The rows of images as they come: a line of JSON for each image, behind one that says what was asked for."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from bccli.core.errors import SettingsError
from bccli.core.files import write_text
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.question import Question
from bccli.core.reading.texts import parse_json
from bccli.core.runs.starts import progressed


@dataclass
class RowsFile:
    """The rows of unfinished work and what is asked for; `overwrite` lets it replace what is there.

    Answers are given to so many images in a `step`, and stored rows end where a step does, so that the rest
    comes out as if nobody had interrupted it.
    """

    path: Path
    question: Question
    step: int = 1
    overwrite: bool = False
    answered: int = 0
    _offset: int = field(default=0, repr=False)

    def rest(self, images: Iterable[str]) -> Iterator[str]:
        """The images that have no rows yet, and `answered` is how many have some. What is asked for is noted.

        Raises SettingsError where the file has other answers and is not to be replaced.
        """
        names = iter(images)
        if not self.path.exists() or not self._is_ours():
            write_text(self.path, json.dumps(self.question.to_json()) + "\n")
        with self._open("r") as stream:
            again = self._skip(stream, names)
        with self.path.open("r+b") as content:
            content.truncate(self._offset)
        return chain(again, names)

    def _is_ours(self) -> bool:
        """Whether what is there answers the same question; something else may be replaced."""
        known = self.begun()
        difference = self.question.differs_from(known)
        if difference and not self.overwrite:
            why = f"was begun with {difference}" if known else "was not made by bccli predict"
            raise SettingsError(f"{self.path}: {why}; remove it, choose another file or pass --overwrite")
        return not difference

    def begun(self) -> dict[str, Any]:
        """What the file answers; empty where there is none, or it is somebody else's."""
        if not self.path.is_file():
            return {}
        with self._open("r") as stream:
            known = json_object(stream.readline())
        return known if "runs" in known else {}

    def _open(self, mode: str) -> IO[str]:
        return self.path.open(mode, encoding="utf-8", errors="replace", newline="")

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
                    f"{self.path}: has the rows of other images ({entry.path} where there is now "
                    f"{name or 'none'}); remove it or choose another file"
                )
            again.append(name)
            if size_of(name) != entry.size:
                break  # the image has changed since
            offset += len(line.encode())
            if len(again) == self.step:
                self.answered, self._offset = self.answered + len(again), offset
                again.clear()
        return again

    def append(self, images: Iterable[ImageRows]) -> int:
        """Append the rows of images as they come, and store those of a step together; returns how many rows
        there were."""
        rows = 0
        try:
            with self._open("a") as stream:
                for number, entry in enumerate(images, 1):
                    stream.write(replace(entry, size=size_of(entry.path)).to_line())
                    rows += len(entry.rows)
                    if number % self.step == 0:
                        stream.flush()
                        progressed()
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
        return rows

    def entries(self) -> Iterator[ImageRows]:
        """All images with their rows."""
        with self._open("r") as stream:
            stream.readline()
            for line in stream:
                with suppress(ValueError, TypeError):  # half a line, where this start was killed
                    yield ImageRows.from_line(line)


def size_of(name: str) -> int:
    """The size of a file, -1 where there is none."""
    try:
        return os.stat(name).st_size
    except (OSError, ValueError):
        return -1


def json_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty for what is none."""
    return json_object(path.read_text("utf-8", "surrogateescape"))


def json_object(text: str) -> dict[str, Any]:
    """A JSON object, empty for what is none."""
    try:
        value = parse_json(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
