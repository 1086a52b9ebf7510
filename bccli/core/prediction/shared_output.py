"""The file that several tasks of `predict --output` write together, and what they have done so far.

FILE.parts has the plan and the blocks. Claims lie beside the blocks: a client of a network file system sees
what others have made in a folder when it has made something there itself. Whoever finds no block missing
joins them to FILE.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bccli.core import interruption
from bccli.core.errors import DataError, LockedError, SettingsError
from bccli.core.files import write_json
from bccli.core.prediction.image_names import ImageNames
from bccli.core.prediction.output_file import Answers, OutputFile, Write
from bccli.core.prediction.rows_file import json_in
from bccli.core.prediction.shared_blocks import Blocks
from bccli.core.prediction.shared_plan import SharedPlan
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.claims import Claims
from bccli.core.runs.locks import locked
from bccli.core.runs.shard import WHOLE, Shard
from bccli.core.runs.starts import counted

_POLL = 0.1
_MOST_CHECKS = 3


@dataclass
class SharedOutput:
    """An output file that tasks write together, each by its `shard`.

    Without a shard, all that is missing is done, but only where nobody else is at work.

    Of the images `answered` had their rows already, and `fresh` is how many rows were made now.
    """

    file: OutputFile
    shard: Shard | None = None
    watcher: Watcher = SILENT
    answered: int = 0
    fresh: int = 0
    _checks: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self._claims = Claims(self.file.parts, str(self.shard or ""))
        if self.shard:
            self.file = replace(self.file, remedy="remove it or choose another file")

    def errors_if_complete(self, images: Iterable[str]) -> int | None:
        """How many images have an error, where the file has all these answers; else None, and all tasks have
        agreed on what is to be done.

        Raises SettingsError where the file, or what others have begun, answers something else, and
        LockedError without a shard, where others are at work.
        """
        if self.shard is None:
            self._claims.wait_until_free(self.file.path)
        names = ImageNames(images)
        with locked(self.file.path, file=self.file.lock, shard=self._claims.shard):
            while (known := self._known()) is None:
                if (errors := self._begin(names)) is not None:
                    return errors
            self._agree(names, known)
        return None

    def _known(self) -> dict[str, Any] | None:
        """The plan that is there; whoever joins all blocks takes it away."""
        try:
            return json_in(self.file.plan)
        except FileNotFoundError:
            return None

    def _begin(self, names: ImageNames) -> int | None:
        """Write the plan where nobody else does; what `errors_if_complete` says of the file otherwise."""
        self._refuse_others()
        errors = self.file.errors_if_complete(names)
        if errors is None:
            with self._claims.taken("plan") as mine:
                if mine and not self.file.plan.exists():
                    errors = self.file.errors_if_complete(names)  # it may have been joined just now
                    if errors is None:
                        write_json(self.file.plan, self._plan(names).to_json())
            if not mine:
                interruption.stop_if_requested()
                time.sleep(_POLL)
        if errors is not None:
            self._clear()
        return errors

    def _plan(self, names: ImageNames) -> SharedPlan:
        return SharedPlan.of(self.file.question, self.file.step, names, (self.shard or WHOLE).count)

    def _refuse_others(self) -> None:
        """Raises SettingsError for what is there without a plan and was not made by such tasks."""
        if self.file.unfinished.exists():
            raise SettingsError(
                f"{self.file.unfinished}: was begun without --shard; end it by the same command without "
                "--shard, or remove it"
            )
        with suppress(FileNotFoundError):
            entries = os.listdir(self.file.parts)
            if any(not (name.startswith((".", "plan.")) or ".claim" in name) for name in entries):
                raise self._refusal("was not made by bccli predict")

    def _refusal(self, why: str) -> SettingsError:
        return SettingsError(f"{self.file.parts}: {why}; remove it or choose another file")

    def _agree(self, names: ImageNames, known: Mapping[str, Any]) -> None:
        """Take the plan that is there. Raises SettingsError where it is another one than ours."""
        plan, steps = self._plan(names), known.get("steps")
        if not isinstance(steps, int) or steps < 1:
            raise self._refusal("was not made by bccli predict")
        if difference := plan.differs_from(known):
            if not self.file.overwrite:
                raise self._refusal(f"was begun with {difference}; ask the same in all tasks")
            self._put_away()
            self.file.parts.mkdir()
            write_json(self.file.plan, plan.to_json())
            steps = plan.steps
        self._agreed = self._known()
        self._blocks = Blocks(self.file.parts, replace(plan, steps=steps), names)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count the starts of a share, and clear up behind it. Raises NoProgressError after two in vain."""
        share = self.shard or WHOLE
        with ExitStack() as stack:
            stack.callback(self._clear)
            with suppress(FileNotFoundError):  # the others have joined all blocks just now
                starts = self.file.parts / f".starts-{share.in_names}"
                stack.enter_context(counted(starts, self.file.path))
            yield

    def look(self, images: Iterable[str]) -> None:
        """Find out how many images have rows already; which `images` there are is known."""
        missing = sum(len(self._blocks.images_of(number)) for number in self._blocks.missing())
        self.answered = len(self._blocks.images) - missing

    def work(self, answers: Answers, write: Write) -> int | None:
        """Answer for blocks until nobody lacks any, and have the file written where none is missing.

        Returns the number of errors, None where another task is left to write the file, or has written it.
        Raises LockedError without a shard, where others have the rest, and DataError where what all of them
        have made is gone.
        """
        try:
            while self._make_blocks(answers) or not self._is_over():
                errors = None if self._blocks.missing() else self._join(write)
                if errors is not None or self._is_left_to_others():
                    return errors
        except FileNotFoundError:
            if not self._is_over():
                raise
        if not self._is_written():
            raise DataError(f"{self.file.parts}: was removed in the meantime; run the same command again")
        self.watcher.note(f"{self.file.path}: was written by another task")
        return None

    def _is_over(self) -> bool:
        """Whether all blocks have been joined, or removed, also by somebody who asks something else now."""
        known = self._known()
        return known is None or known != self._agreed

    def _is_written(self) -> bool:
        """Whether the file is there and answers our question."""
        made, path = self.file.made, self.file.path
        both = made.is_file() and path.is_file()
        return both and not self.file.question.differs_from(json_in(made))

    def _make_blocks(self, answers: Answers) -> bool:
        """Go through all blocks once, our own ones first; returns whether any was made."""
        order = (self.shard or WHOLE).own_first(range(len(self._blocks)))
        return sum(self._make(number, answers) for number in order) > 0

    def _make(self, number: int, answers: Answers) -> bool:
        """Make a block that nobody has made and nobody is making; returns whether it was so."""
        done = self._blocks.done(number)
        if done.exists() or self._is_over():
            return False
        with self._claims.taken(done.stem) as mine:
            if not mine or done.exists() or self._is_over():
                return False
            self.fresh += self._blocks.answer(number, answers)
        return True

    def _is_left_to_others(self) -> bool:
        """Whether living tasks have all that is missing, which is said."""
        missing = self._blocks.missing()
        if any(self._claims.is_free(self._blocks.done(number).stem) for number in missing):
            return False
        try:
            self._claims.wait_until_free(self.file.path)
        except LockedError:
            if self.shard is None:
                raise
            if living := self._claims.living():
                others = f" and {len(living) - 1} more" if living[1:] else ""
                self.watcher.note(f"shard {self.shard} is done; the rest is left to {living[0]}{others}")
                return True
        return False

    def _join(self, write: Write) -> int | None:
        """Have the file written of all blocks; None where another task does that, or some do not fit."""
        with self._claims.taken("join") as mine:
            if not mine or self._is_over() or not self._is_whole():
                return None
            errors = self.file.complete(write, self._blocks.entries)
            self._put_away()
        return errors

    def _is_whole(self) -> bool:
        """Whether all blocks have the rows of their images; others are to be made again.

        Images that have changed are noticed once; a file system that loses rows again and again is an error.
        """
        blocks, sizes = self._blocks, self._checks == 0
        unfit = [number for number in range(len(blocks)) if not blocks.fits(number, sizes=sizes)]
        self._checks += 1
        if unfit and self._checks == _MOST_CHECKS:
            raise DataError(f"{blocks.done(unfit[0])}: is damaged; remove it and run the same command again")
        for number in unfit:
            blocks.reopen(number)
        return not unfit

    def _put_away(self) -> None:
        """Have the parts vanish at once, so that nobody takes some of them for all."""
        shutil.rmtree(self.file.old_parts, ignore_errors=True)
        self.file.parts.rename(self.file.old_parts)

    def _clear(self) -> None:
        """Remove what was put away, and the folder where it was opened once more to look for work."""
        shutil.rmtree(self.file.old_parts, ignore_errors=True)
        with suppress(OSError):
            self.file.parts.rmdir()
