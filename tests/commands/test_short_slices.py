"""`prepare` and `augment` in slices of a batch system that are too short for their first chunk."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bccli.core import interruption
from bccli.core.preparation import prepare, resumable, source_hashes
from tests.conftest import PATIENT, Bccli
from tests.sentences import refused

ENOUGH = "no progress in two starts; ask for more time"


def slice_too_short(*args: Any) -> Iterator[Any]:
    """Work that a signal ends before anything of it is stored."""
    interruption.request(signal.SIGTERM)
    yield 0, 0


def too_short(self: Any, *args: Any) -> Iterator[Any]:
    return slice_too_short()


def hashes_too_short(*args: Any) -> Iterator[Any]:
    interruption.request(signal.SIGTERM)
    interruption.stop_if_requested()
    yield None


@pytest.mark.parametrize("what", ["chunks", "hashes", "copies"])
def test_the_second_start_in_vain_asks_for_more_time(
    bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    first = "prepare", "folder", raw, data, *(() if what == "hashes" else PATIENT)
    if what == "copies":
        bccli(*first)
    out = tmp_path / "more" if what == "copies" else data
    words = ("augment", data, out, "--policy", "table5") if what == "copies" else first
    with monkeypatch.context() as patch:
        if what == "hashes":
            patch.setattr(source_hashes, "in_order", hashes_too_short)
        else:
            patch.setattr(prepare._Work if what == "chunks" else resumable_work(), "work_on", too_short)
        bccli(*words, exit=75)
        assert ENOUGH in refused(bccli("--quiet", *words, exit=3))
        bccli(*words, exit=75)
    bccli(*words)
    assert json.loads((out / "dataset.json").read_text())
    assert not any("starts" in path.name for path in out.rglob("*"))


def resumable_work() -> type:
    """The making of augmented copies."""
    from bccli.core.preparation import augment

    (found,) = [
        value
        for value in vars(augment).values()
        if isinstance(value, type) and issubclass(value, resumable.Making) and value is not resumable.Making
    ]
    return found
