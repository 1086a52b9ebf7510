"""`prepare` in several processes at once, on one machine or many: each does its share of the chunks.

All of them share one plan, which the first one makes before any pixel is written. The one that finds every
chunk done merges them.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bccli.core import interruption
from bccli.core.data.dataset import JOURNALS_FOLDER
from bccli.core.errors import LockedError, SettingsError
from bccli.core.files import write_json
from bccli.core.preparation.division import Plan
from bccli.core.progress import Watcher
from bccli.core.reading.texts import read_json
from bccli.core.runs.locks import locked
from bccli.core.runs.shard import WHOLE, Shard

_POLL = 0.5


@contextmanager
def held(out: Path, shard: Shard, watcher: Watcher) -> Iterator[None]:
    """Hold `out` for planning and merging: the whole work at once or not at all, a shard when its turn comes.

    Raises LockedError where another process prepares the whole dataset, or shards of it.
    """
    with ExitStack() as stack:
        waited = False
        while True:
            try:
                stack.enter_context(locked(out))
                break
            except LockedError:
                if shard == WHOLE:
                    raise
                if not waited:
                    watcher.note(f"shard {shard}: waiting for another process in {out}")
                    waited = True
                interruption.stop_if_requested()
                time.sleep(_POLL)
        if shard == WHOLE:
            for folder in sorted((out / JOURNALS_FOLDER).glob("shard-*")):
                with locked(folder):
                    pass
        yield


@contextmanager
def working(out: Path, shard: Shard) -> Iterator[None]:
    """Hold a shard while its pixels are written. Raises LockedError where another process writes them."""
    if shard == WHOLE:
        yield
        return
    with locked(_folder(out, shard)):
        yield


def enter(out: Path, shard: Shard) -> None:
    """Announce a shard to the others, while `out` is held."""
    if shard != WHOLE:
        _folder(out, shard).mkdir(exist_ok=True)


def are_shards(out: Path) -> bool:
    """Whether shards of `out` are at work, or have left journals to continue from."""
    return any((out / JOURNALS_FOLDER).glob("shard-*"))


def _folder(out: Path, shard: Shard) -> Path:
    return out / JOURNALS_FOLDER / f"shard-{shard.in_names}"


def store_plan(out: Path, shard: Shard, plan: Plan, preparation: dict[str, Any]) -> None:
    """Store the facts on which all shards have to agree besides the settings."""
    content = {"parts": _hash(plan), "preparation": preparation, "shards": shard.count}
    write_json(out / JOURNALS_FOLDER / "plan.json", content)


def stored_preparation(out: Path, shard: Shard, plan: Plan) -> dict[str, Any] | None:
    """The preparation that is stored with the plan, None where there is no plan yet.

    Raises SettingsError where it is for other shards or other splits.
    """
    path = out / JOURNALS_FOLDER / "plan.json"
    if not path.exists():
        return None
    content = read_json(path)
    if content["parts"] != _hash(plan):
        raise SettingsError(
            f"{out}: was planned with other splits than this installation makes; use one for all shards"
        )
    if shard != WHOLE and content["shards"] not in (1, shard.count):
        raise SettingsError(
            f"{out}: is being prepared in {content['shards']} shards, not {shard.count}; "
            f"say --shard {min(shard.number, content['shards'])}/{content['shards']}"
        )
    if content["shards"] < shard.count:
        write_json(path, {**content, "shards": shard.count})
    return content["preparation"]


def missing_shards(out: Path, chunks: int, shard: Shard) -> list[str]:
    """The shards that have unfinished chunks, in words."""
    journals = {int(path.stem) for path in (out / JOURNALS_FOLDER).glob("*.json") if path.stem.isdecimal()}
    numbers = {chunk % shard.count + 1 for chunk in range(chunks) if chunk not in journals}
    return [f"{number}/{shard.count}" for number in sorted(numbers)]


def _hash(plan: Plan) -> str:
    numbers = (array.astype("<i4").tobytes() for array in (plan.splits, plan.folds))
    return hashlib.sha256(b"".join(numbers)).hexdigest()
