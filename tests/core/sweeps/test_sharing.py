"""Runs that tasks make together, where one of them counts as dead and is not."""

from pathlib import Path

import pytest

from bccli.core.progress import Watcher
from bccli.core.runs.claims import Claims
from bccli.core.runs.run_folder import CLAIMS_FOLDER, Run, complete_run, open_run
from bccli.core.runs.run_info import SWEEP
from bccli.core.runs.shard import Shard
from bccli.core.sweeps.sharing import AtWork, Container, Share, Unit

NAMES = "a", "b", "c"
WHOLE = Container("", SWEEP, {}, NAMES)


class Task(Watcher):
    """A task that makes empty runs; those that it made are `made`, and `during` happens in each of them."""

    def __init__(self, root: Path, shard: Shard) -> None:
        self.share, self.said, self.made = Share(root, shard, self), "", list[str]()
        self.during = lambda name: None

    def note(self, text: str) -> None:
        self.said += f"{text}\n"

    def run(self) -> Run | AtWork:
        return self.share.make(WHOLE, [Unit(name, self.make) for name in NAMES], self.finish)

    def make(self, folder: Path) -> Run:
        self.made.append(folder.name)
        with open_run(folder, SWEEP, {}) as run:
            self.during(folder.name)
            assert run is not None
            return complete_run(run, {})

    def finish(self, _failures: object) -> Run:
        with WHOLE.opened(self.share.root, self.share.shard, overwrite=False) as run:
            assert run is not None
            return complete_run(run, {})


@pytest.mark.parametrize("asleep_in", NAMES)
def test_a_task_that_counted_as_dead_ends_well_once_others_have_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asleep_in: str
) -> None:
    """It wakes up in a run that its heir has made, and the marks of all runs are gone with the claims."""
    sleeper, heir = Task(tmp_path / "sweep", Shard(1, 2)), Task(tmp_path / "sweep", Shard(2, 2))

    def sleep(name: str) -> None:
        if name == asleep_in:
            with monkeypatch.context() as patch:
                patch.setattr(Claims, "_look", lambda claims, path: None)
                patch.setattr("bccli.core.runs.locks.try_to_lock", lambda stream, **options: True)
                assert isinstance(heir.run(), Run)

    sleeper.during = sleep
    assert sleeper.run() == AtWork(0)
    assert "another one has finished" in sleeper.said
    assert sleeper.made[-1] == asleep_in
    assert not (tmp_path / "sweep" / CLAIMS_FOLDER).exists()
