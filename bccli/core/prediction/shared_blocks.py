"""The blocks of images that tasks answer for, each in files of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bccli.core.prediction.image_names import ImageNames
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.output_file import Answers
from bccli.core.prediction.rows_file import RowsFile, size_of
from bccli.core.prediction.shared_plan import SharedPlan


@dataclass(frozen=True)
class Blocks:
    """Images in blocks, by their numbers from 0 on.

    The rows of a block lie in NUMBER.rows when each of its images has an answer, and until then in
    NUMBER.ID.part, one for each task that has begun with it.
    """

    folder: Path
    plan: SharedPlan
    images: ImageNames

    def __len__(self) -> int:
        return -(-len(self.images) // self._size)

    @property
    def _size(self) -> int:
        return self.plan.step * self.plan.steps

    def images_of(self, number: int) -> list[str]:
        """The images of a block."""
        return self.images.between(number * self._size, (number + 1) * self._size)

    def done(self, number: int) -> Path:
        """The file of a block that is done."""
        return self.folder / f"{number:06}.rows"

    def missing(self) -> list[int]:
        """The blocks that are not done."""
        return [number for number in range(len(self)) if not self.done(number).exists()]

    def answer(self, number: int, answers: Answers) -> int:
        """Answer for a block, from where somebody else ended; returns how many rows were made now.

        Whoever that was may only seem to have ended, so we write to a file of our own.
        """
        own = self._own(number)
        earlier = sorted(self.folder.glob(f"{number:06}.*.part"), key=lambda path: size_of(str(path)))
        if earlier:
            with suppress(FileNotFoundError):  # whoever only seemed to have ended has made the block just now
                shutil.copyfile(earlier[-1], own)
        rows = self._rows(own)
        fresh = rows.append(answers(rows.rest(self.images_of(number))))
        os.replace(own, self.done(number))  # unflushed: whoever joins the blocks looks whether they fit
        return fresh

    def _own(self, number: int) -> Path:
        return self.folder / f"{number:06}.{os.urandom(6).hex()}.part"

    def _rows(self, path: Path) -> RowsFile:
        return RowsFile(path, self.plan.question, self.plan.step, overwrite=True)

    def entries(self) -> Iterator[ImageRows]:
        """All images with their rows, in the order of the inputs."""
        for number in range(len(self)):
            yield from self._rows(self.done(number)).entries()

    def fits(self, number: int, *, sizes: bool) -> bool:
        """Whether a block has the rows of its images, and with `sizes`, of these as they are now; a task that
        answers something else may have written it here."""
        rows = self._rows(self.done(number))
        pairs = zip_longest(rows.entries(), self.images_of(number))
        try:
            return not self.plan.question.differs_from(rows.begun()) and all(
                entry and entry.path == name and (not sizes or entry.size == size_of(name))
                for entry, name in pairs
            )
        except FileNotFoundError:
            return False

    def reopen(self, number: int) -> None:
        """Have a block answered again, from its first image on whose rows do not fit."""
        with suppress(FileNotFoundError):
            self.done(number).rename(self._own(number))
