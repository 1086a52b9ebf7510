"""The file that `predict --output` writes: continued where it is unfinished, left alone where it is complete.

Rows are kept as they come in FILE.part; at the end FILE is written whole in its format, and a hidden file
beside it says what it was made of.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bccli.core.errors import LockedError, SettingsError
from bccli.core.files import file_hash, write_json
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.question import Question
from bccli.core.prediction.rows_file import RowsFile, json_in, size_of
from bccli.core.runs.locks import locked
from bccli.core.runs.starts import counted

Answers = Callable[[Iterable[str]], Iterable[ImageRows]]
"""What answers for images, in their order."""

Write = Callable[[Iterable[ImageRows]], int]
"""What writes the file itself from all rows, and gives the number of errors."""


@dataclass
class OutputFile:
    """An output file and what is asked for; `overwrite` lets it replace what is there, else `remedy` says
    what to do about that.

    Answers are given to so many images in a `step`; of them `answered` were there already, and `fresh` is
    how many rows were made now.
    """

    path: Path
    question: Question
    step: int = 1
    overwrite: bool = False
    remedy: str = "choose another file or pass --overwrite"
    fresh: int = 0
    _rest: Iterable[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.part = RowsFile(self._beside("{}.part"), self.question, self.step, self.overwrite)
        self.made = self._beside(".{}.made")
        self.lock = self._beside(".{}.lock")
        self.parts = self._beside("{}.parts")
        self.old_parts = self._beside(".{}.parts.old")

    def _beside(self, pattern: str) -> Path:
        return self.path.with_name(pattern.format(self.path.name))

    @property
    def unfinished(self) -> Path:
        """The rows of what is unfinished."""
        return self.part.path

    @property
    def plan(self) -> Path:
        """The plan of tasks that write the file together, there only while they have not ended."""
        return self.parts / "plan.json"

    @property
    def answered(self) -> int:
        """How many images have rows from an earlier start."""
        return self.part.answered

    def errors_if_complete(self, images: Iterable[str]) -> int | None:
        """How many images have an error, where the file has all these answers; else None.

        Raises SettingsError where the file holds something else and is not to be replaced.
        """
        if self.overwrite or self.unfinished.exists() or not self.path.exists():
            return None
        made = json_in(self.made) if self.made.is_file() else {}
        errors = made.get("errors")
        if made.get("sha256") != file_hash(self.path) or not isinstance(errors, int):
            raise self._refusal("was not made by bccli predict, or has changed since")
        if difference := self.question.differs_from(made):
            raise self._refusal(f"was made with {difference}")
        if made.get("images") != _digest((name, size_of(name)) for name in images):
            raise self._refusal("has the answers for other images, or some of them have changed since")
        self._tidy()
        return errors

    def _tidy(self) -> None:
        """Remove what those who were killed as they ended have left."""
        shutil.rmtree(self.old_parts, ignore_errors=True)
        with suppress(LockedError, OSError):
            if self.lock.exists():
                with locked(self.path, file=self.lock):
                    pass  # who lets go of a lock removes its file

    def _refusal(self, why: str) -> SettingsError:
        return SettingsError(f"{self.path}: {why}; {self.remedy}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Work on the file alone. Raises LockedError, and NoProgressError after starts in vain."""
        with locked(self.path, file=self.lock), counted(self._beside(".{}.starts"), self.path):
            if self.plan.exists():
                raise LockedError(f"{self.parts}: tasks with --shard have begun just now; wait for their end")
            try:
                yield
            finally:
                if self.part.begun() and next(self.part.entries(), None) is None:
                    self.unfinished.unlink()

    def look(self, images: Iterable[str]) -> None:
        """Find out which of the images have rows already. Raises as `RowsFile.rest` does."""
        self._rest = self.part.rest(images)

    def work(self, answers: Answers, write: Write) -> int:
        """Answer for the images that have no rows yet, and write the file; returns the number of errors."""
        self.fresh = self.part.append(answers(self._rest))
        errors = self.complete(write, self.part.entries)
        self.unfinished.unlink()
        return errors

    def complete(self, write: Write, entries: Callable[[], Iterable[ImageRows]]) -> int:
        """Have the file written from all entries, and note what it was made of; returns how many errors."""
        errors = write(entries())
        facts = {"errors": errors, "sha256": file_hash(self.path)}
        images = _digest((entry.path, entry.size) for entry in entries())
        write_json(self.made, {**self.question.to_json(), "images": images, **facts})
        return errors


def _digest(images: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The number of images, and a hash of their names and sizes in their order."""
    digest, count = hashlib.sha256(), 0
    for name, size in images:
        digest.update(name.encode("utf-8", "surrogateescape") + f"\0{size}\0".encode())
        count += 1
    return {"count": count, "sha256": digest.hexdigest()}
