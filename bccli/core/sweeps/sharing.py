"""A sweep, folds or a tree made by several tasks that share nothing but the folder (`--shard I/N`).

Each task claims a run that nobody has claimed, makes it and goes on to the next. The one that finds all of
them made finishes the whole by the code that makes it in one process, which has nothing left to train then.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from bccli.core.errors import BccliError, LeakageError, LockedError, NoProgressError, UsageError
from bccli.core.files import write_text
from bccli.core.progress import Watcher
from bccli.core.runs.claims import Claims
from bccli.core.runs.run_folder import CLAIMS_FOLDER, RUN_FILE, SECONDS_FILE, Run, join_run, open_run
from bccli.core.runs.run_info import COMPLETE, SWEEP, RunInfo
from bccli.core.runs.shard import WHOLE, Shard

Whole = TypeVar("Whole")

FOR_ALL = (LeakageError, LockedError, NoProgressError, UsageError)
"""What ends a sweep as a whole, since no member would fare better."""

_MARKS = _DONE, _FAILED = ".done", ".failed"
FINISH = "all"
"""What is claimed when all units are made."""


@dataclass(frozen=True)
class Container:
    """A run that holds others, `members` by their folders' names: its own folder below the whole, empty for
    the whole itself, and what it is recognised by."""

    path: str
    kind: str
    settings: Mapping[str, Any]
    members: Sequence[str]
    extendable: bool = True

    def join(self, root: Path, shard: Shard) -> bool:
        """Begin it below `root`, or join others in it; whether it is complete. A sweep never is: members may
        be added. Raises SettingsError where it was begun with other settings."""
        return join_run(
            root / self.path,
            self.kind,
            dict(self.settings),
            members=self.members,
            shard=str(shard),
            extendable=self.extendable,
            reopened=self.kind == SWEEP,
        )

    def opened(self, root: Path, shard: Shard, *, overwrite: bool) -> AbstractContextManager[Run | None]:
        """Have it for this process alone, see `open_run`; a shard has found that nobody else is at work."""
        return open_run(
            root / self.path,
            self.kind,
            dict(self.settings),
            members=self.members,
            shard="" if shard == WHOLE else str(shard),
            extendable=self.extendable,
            overwrite=overwrite,
        )


@dataclass(frozen=True)
class Unit:
    """A run that one task makes: its folder below the whole, and what makes it there.

    It lies in containers, the outermost first, which are asked for when it is made.
    """

    path: str
    make: Callable[[Path], Run]
    containers: Callable[[], Sequence[Container]] = tuple


def within(name: str, container: Callable[[], Container], units: Sequence[Unit]) -> list[Unit]:
    """The units of a container, as those of the one that has it in the folder `name`."""

    def moved(unit: Unit) -> Unit:
        def containers() -> list[Container]:
            inner = (replace(one, path=f"{name}/{one.path}") for one in unit.containers())
            return [replace(container(), path=name), *inner]

        return Unit(f"{name}/{unit.path}", unit.make, containers)

    return [moved(unit) for unit in units]


@dataclass(frozen=True)
class AtWork:
    """What a task leaves to others that are still at work; so many of its own runs have `failed`."""

    failed: int


@dataclass
class Share:
    """What a task does of a whole in the folder `root`, and whom it tells; so many of its runs `failed`."""

    root: Path
    shard: Shard
    watcher: Watcher
    failed: int = 0

    def make(
        self,
        whole: Container,
        units: Sequence[Unit],
        finish: Callable[[Mapping[str, str]], Whole],
        *,
        lenient: bool = False,
    ) -> Whole | AtWork:
        """Make what no other task makes. The last to end has `finish` make the whole, which it returns.

        `finish` is given why units failed, by their paths, where `lenient` says that the others go on.
        Raises what units raise.
        """
        if whole.join(self.root, self.shard):
            return finish({})
        if self._make_all(whole, units, lenient=lenient):
            with self._claims.taken(FINISH) as mine:
                if mine and not self._open(units):
                    return finish(self._failures(units))
            self.watcher.note(f"shard {self.shard} is done; another one finishes {self.root}")
        return AtWork(self.failed)

    def _make_all(self, whole: Container, units: Sequence[Unit], *, lenient: bool) -> bool:
        """Make units until none is left that nobody makes; whether all are made, and not the whole, too."""
        made, ordered = 0, self.shard.own_first(units)
        while rest := self._open(ordered):
            if self._is_complete():
                if all(self._is_complete(unit.path) for unit in rest):
                    self.watcher.note(f"shard {self.shard} is done; another one has finished {self.root}")
                    return False
                whole.join(self.root, self.shard)  # by tasks that have made other members
            free = [unit for unit in rest if self._claims.is_free(unit.path)]
            if not free:
                self._name_others(made, rest)
                return False
            for unit in free:
                if self._is_complete():
                    break  # others have taken this task for dead, and finished the whole
                with self._claims.taken(unit.path) as mine:
                    if mine and self._open([unit]):
                        self.watcher.note(f"shard {self.shard}: {unit.path}")
                        self._make(unit, lenient=lenient)
                        made += 1
        return True

    def _is_complete(self, path: str = "") -> bool:
        folder = self.root / path
        return (folder / RUN_FILE).exists() and RunInfo.read(folder / RUN_FILE).status == COMPLETE

    def _name_others(self, made: int, rest: Sequence[Unit]) -> None:
        """Say what others are making, and who they are."""
        holders = dict.fromkeys(map(str, self._claims.living()))
        self.watcher.note(
            f"shard {self.shard} is done: it made {made} runs; {self.root} still needs "
            f"{', '.join(unit.path for unit in rest[:3])}{' …' * (len(rest) > 3)}, by "
            f"{', '.join(holders) or 'others'}"
        )

    def _make(self, unit: Unit, *, lenient: bool) -> None:
        began = time.monotonic()
        try:
            for container in unit.containers():
                container.join(self.root, self.shard)
            made = unit.make(self.root / unit.path)
        except FOR_ALL:
            raise
        except BccliError as error:
            if not lenient:
                raise
            self.failed += 1
            self.watcher.warn(f"{unit.path} failed: {error}")
            self._write_mark(unit, _FAILED, f"{error}")
            return
        note_seconds(made, time.monotonic() - began)
        self._write_mark(unit, _DONE)

    def _write_mark(self, unit: Unit, mark: str, text: str = "") -> None:
        try:
            write_text(self._mark(unit, mark), text)
        except FileNotFoundError:
            if not self._is_complete():  # else all marks went when others finished the whole
                raise

    def _open(self, units: Sequence[Unit]) -> list[Unit]:
        """The units that are not made, in the same order."""
        return [unit for unit in units if not any(self._mark(unit, mark).exists() for mark in _MARKS)]

    def _failures(self, units: Sequence[Unit]) -> dict[str, str]:
        marks = {unit.path: self._mark(unit, _FAILED) for unit in units}
        return {
            path: mark.read_text("utf-8", "surrogateescape") for path, mark in marks.items() if mark.exists()
        }

    def _mark(self, unit: Unit, mark: str) -> Path:
        return self._claims.folder / f"{unit.path}{mark}"

    @property
    def _claims(self) -> Claims:
        return Claims(self.root / CLAIMS_FOLDER, str(self.shard))


def note_seconds(run: Run, seconds: float) -> None:
    """Store how long a new run took; the time of a run that was there before is not overwritten, and of one
    whose members know theirs it is their sum."""
    path = run.root / SECONDS_FILE
    if path.exists():
        return
    known = [float(inner.read_text("ascii")) for inner in sorted(run.root.glob(f"*/{SECONDS_FILE}"))]
    write_text(path, f"{sum(known) if known else seconds:.1f}")
