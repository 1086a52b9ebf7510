"""Making of a prepared dataset: it is begun, continued or recognised, chunk by chunk, alone or in shards.

`prepare` and `augment` both make one. dataset.json comes last: its presence means "complete".
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core import interruption
from bccli.core.data.dataset import (
    AUDIT_FILE,
    CACHE_FOLDER,
    DATASET_FILE,
    IMAGES_FOLDER,
    JOURNALS_FOLDER,
    JOURNALS_SETTINGS_FILE,
    MANIFEST_FILE,
    MASKS_FOLDER,
    PIXELS_FOLDER,
    PREVIEW_FILE,
    QUARANTINE_FILE,
    STATS_FILE,
    DatasetInfo,
    first_difference,
)
from bccli.core.data.stored_info import written_by_bccli
from bccli.core.datasets.file_sizes import check_sizes
from bccli.core.errors import DataError, LockedError, SettingsError
from bccli.core.files import inside, remove_folder, settle, sweep, write_json
from bccli.core.preparation.division import Plan
from bccli.core.preparation.shards import (
    are_shards,
    enter,
    held,
    missing_shards,
    store_plan,
    stored_preparation,
    working,
)
from bccli.core.progress import Watcher
from bccli.core.reading.texts import read_json
from bccli.core.runs.locks import locked, refuse_readers
from bccli.core.runs.shard import WHOLE, Shard
from bccli.core.runs.starts import counted, progressed

_FOLDERS = (IMAGES_FOLDER, MASKS_FOLDER, PIXELS_FOLDER)
"""The folders of a prepared dataset."""


@dataclass(frozen=True)
class Making(ABC):
    """A dataset in the making: its folder, its plan, and the shard and the workers that make it.

    Two calls are the same where their `settings` are. All shards agree on the `plan` of splits and folds.
    """

    out: Path
    settings: dict[str, Any]
    plan: Plan
    shard: Shard
    workers: int
    watcher: Watcher

    @property
    @abstractmethod
    def images(self) -> int:
        """The number of images of all shards."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of images in a chunk."""

    @abstractmethod
    def learn(self) -> dict[str, Any]:
        """Learn the preparation before the first chunk, once for all shards."""

    @abstractmethod
    def work_on(self, preparation: dict[str, Any]) -> Generator[tuple[int, int], None, None]:
        """Do the shard's chunks; yields for each its images, and how many were ready before."""

    @abstractmethod
    def complete(self, preparation: dict[str, Any]) -> DatasetInfo:
        """Merge the journals of all chunks; returns the content of dataset.json."""

    @property
    def chunks(self) -> int:
        """The number of chunks of all shards."""
        return -(-self.images // self.size)


def make(making: Making, *, overwrite: bool = False) -> DatasetInfo | None:
    """Make, continue or recognise the dataset `making.out`; returns the content of dataset.json.

    With a shard, it does that share of the work, and returns None where other shards are unfinished. Raises
    SettingsError where the folder holds something else, LockedError, Stopped after a signal.
    """
    if done := recognised(making.out, making.settings, overwrite, making.watcher):
        return done
    making.out.mkdir(parents=True, exist_ok=True)
    for name in (JOURNALS_FOLDER, *_FOLDERS):
        inside(making.out, f"{name}/file")
    return _make_whole(making, overwrite) if making.shard == WHOLE else _make_shard(making)


def _make_whole(making: Making, overwrite: bool) -> DatasetInfo:
    with held(making.out, making.shard, making.watcher):
        if done := finished(making.out, making.settings, overwrite):  # by another process, since we looked
            return done
        preparation = _begin(making)
        _work(making, preparation)
        return _seal(making, preparation)


def _make_shard(making: Making) -> DatasetInfo | None:
    """Do the shard's chunks while others do theirs; returns None where some of these are unfinished."""
    with held(making.out, making.shard, making.watcher):
        if done := finished(making.out, making.settings, False):
            return done
        preparation = _begin(making)
    with working(making.out, making.shard):
        _work(making, preparation)
    with held(making.out, making.shard, making.watcher):
        if done := finished(making.out, making.settings, False):
            return done
        if missing := missing_shards(making.out, making.chunks, making.shard):
            needs = ", ".join(missing)
            making.watcher.note(f"shard {making.shard} is done; {making.out} still needs {needs}")
            return None
        return _seal(making, preparation)


def _seal(making: Making, preparation: dict[str, Any]) -> DatasetInfo:
    """Merge the chunks, and write dataset.json, which says that the dataset is complete."""
    sweep(making.out)
    info = making.complete(preparation)
    settle(making.out)
    info.write(making.out / DATASET_FILE)
    settle(making.out)  # before the journals go
    shutil.rmtree(making.out / JOURNALS_FOLDER, ignore_errors=True)
    return info


def keep_apart(source: Path, out: Path) -> None:
    """Raises DataError where the next survey of the source would find the prepared images."""
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise DataError(f"{out}: lies inside the source {source}; choose a folder outside of it")


def recognised(out: Path, settings: dict[str, Any], overwrite: bool, watcher: Watcher) -> DatasetInfo | None:
    """Return the content of dataset.json, and say so, where there is nothing to do.

    Raises as `finished`, and DataError where files are no longer as they were written.
    """
    done = finished(out, settings, overwrite)
    if done:
        check_sizes(out, done)
        _tidy(out)
        watcher.note(f"{out} is complete; nothing to do")
    return done


def finished(out: Path, settings: dict[str, Any], overwrite: bool) -> DatasetInfo | None:
    """Return dataset.json if `out` is complete with these settings, None where there is work to do.

    Raises SettingsError naming the first setting that differs, DataError for a folder of somebody else.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise DataError(f"{out}: is not a folder; name another folder for the prepared dataset")
    if (out / DATASET_FILE).exists():
        found = read_json(out / DATASET_FILE)
        if not written_by_bccli(found):
            raise DataError(f"{out}: its dataset.json was not written by bccli; choose another folder")
        if overwrite:
            return None
        info = DatasetInfo.from_json(found, out / DATASET_FILE)
        _refuse_others(out, info.settings, settings, "choose another folder or pass --overwrite")
        return info
    started = out / JOURNALS_FOLDER / JOURNALS_SETTINGS_FILE
    if started.exists():
        _refuse_others(
            out, read_json(started), settings, "it is unfinished; remove it or choose another folder"
        )
    elif any(path.name not in (".lock", JOURNALS_FOLDER, CACHE_FOLDER) for path in out.iterdir()):
        raise DataError(f"{out}: is not empty and was not made by bccli; choose another folder")
    return None


def _tidy(out: Path) -> None:
    """Remove journals and lock of a process killed after dataset.json, where the folder can be written."""
    if (out / JOURNALS_FOLDER).exists() or (out / ".lock").exists():
        with suppress(OSError, LockedError), locked(out):
            remove_folder(out / JOURNALS_FOLDER)


def _refuse_others(out: Path, there: Mapping[str, Any], here: dict[str, Any], advice: str) -> None:
    if difference := first_difference(there, here):
        raise SettingsError(f"{out}: was prepared with {difference}; {advice}")


def _begin(making: Making) -> dict[str, Any]:
    """Mark the folder as unfinished, clear outdated files, and learn or load the preparation."""
    _mark(making.out, making.settings)
    enter(making.out, making.shard)
    preparation = stored_preparation(making.out, making.shard, making.plan)
    if preparation is None:
        preparation = making.learn()
        store_plan(making.out, making.shard, making.plan, preparation)
    return preparation


def _mark(out: Path, settings: dict[str, Any]) -> None:
    """Mark the folder as unfinished before anything else in it changes, then clear outdated files."""
    journals = out / JOURNALS_FOLDER
    if (out / DATASET_FILE).exists():
        refuse_readers(out)
        for journal in journals.glob("*.json"):
            journal.unlink()
    journals.mkdir(exist_ok=True)
    write_json(journals / JOURNALS_SETTINGS_FILE, settings)
    if are_shards(out):
        return
    sweep(out)
    (out / DATASET_FILE).unlink(missing_ok=True)
    for name in (MANIFEST_FILE, QUARANTINE_FILE, AUDIT_FILE, PREVIEW_FILE, STATS_FILE):
        (out / name).unlink(missing_ok=True)
    if not any(path.stem.isdecimal() for path in journals.glob("*.json")):
        for name in (*_FOLDERS, CACHE_FOLDER):
            remove_folder(out / name)


def _work(making: Making, preparation: dict[str, Any]) -> None:
    size, images, shard = making.size, making.images, making.shard
    total = sum(min(size, images - size * chunk) for chunk in range(making.chunks) if shard.has(chunk))
    reused = 0
    journals = making.out / JOURNALS_FOLDER
    # a worker may have stored a chunk of which this process, killed just then, has not heard
    ready = sum(path.stem.isdecimal() for path in journals.glob("*.json"))
    starts = journals / f"starts-{shard.in_names}-after-{ready}"
    with (
        counted(starts, making.out),
        interruption.deferred(),
        making.watcher.track(total, "images") as advance,
        closing(making.work_on(preparation)) as results,
    ):
        for done, before in results:
            advance(done)
            reused += before
            if done > before:
                progressed()
            interruption.stop_if_requested()
    if reused:
        making.watcher.note(f"{reused} of {total} images were ready from an earlier start")
