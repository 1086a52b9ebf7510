"""From a raw dataset to a prepared one: a plan, chunks of pixels, the merge, and dataset.json last."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli import __version__
from bccli.core import interruption
from bccli.core.chunks import JOURNALS, Chunk, chunk_size, prepare_chunk
from bccli.core.errors import DataError, LockedError, SettingsError
from bccli.core.files import locked, read_json, sweep, write_json
from bccli.core.imaging.preparation import MEAN, Preparation, preparation_from_json
from bccli.core.learning import ENOUGH, Examples, learn_size, learn_stain, spread
from bccli.core.merging import merge
from bccli.core.planning import Plan
from bccli.core.prepared import FORMAT, MARKER, first_difference
from bccli.core.records import SPLITS, Sample
from bccli.core.requests import Request, drawn_samples, look, sensible_workers, verification_of
from bccli.core.sharding import (
    WHOLE,
    Shard,
    are_shards,
    enter,
    held,
    keep_plan,
    kept_plan,
    missing_shards,
    working,
)
from bccli.core.splits import TRAIN
from bccli.core.surveying import Survey
from bccli.core.watching import SILENT, Watcher
from bccli.core.workers import in_order


@dataclass(frozen=True)
class _Work:
    """What is asked, what was found, who does it, and where it goes.

    `settings` are those by which two calls are the same.
    """

    request: Request
    found: Survey
    parts: Plan
    settings: dict[str, Any]
    out: Path
    shard: Shard
    workers: int
    watcher: Watcher

    @property
    def preparation(self) -> Preparation:
        """The steps for each image; what they learn may still be lacking."""
        return self.request.preparation

    @property
    def chunks(self) -> int:
        """How many chunks there are in all."""
        return -(-len(self.found.labels) // chunk_size(self.preparation))


def prepare(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    shard: Shard = WHOLE,
    overwrite: bool = False,
    watcher: Watcher = SILENT,
) -> dict[str, Any] | None:
    """Make, continue or recognise the prepared dataset `out`; returns what dataset.json holds.

    With a shard, its part of the work: None where others are still to be done. Raises SettingsError where
    `out` holds something else, LockedError, Stopped after a signal.
    """
    _keep_apart(request.source, out)
    found, parts = look(request, watcher)
    settings = {**request.to_json(), "listing": found.listing}
    if done := finished(out, settings, overwrite):
        _tidy(out)
        watcher.note(f"{out} is complete; nothing to do")
        return done
    out.mkdir(parents=True, exist_ok=True)
    work = _Work(request, found, parts, settings, out, shard, workers, watcher)
    return _prepare_whole(work, overwrite) if shard == WHOLE else _prepare_shard(work)


def _prepare_whole(work: _Work, overwrite: bool) -> dict[str, Any]:
    with held(work.out, work.shard, work.watcher):
        if done := finished(work.out, work.settings, overwrite):  # by another process, since we looked
            return done
        work = _begin(work)
        _prepare_pixels(work)
        return _complete(work)


def _prepare_shard(work: _Work) -> dict[str, Any] | None:
    """Do the shard's chunks while others do theirs; None where some of these are left."""
    with held(work.out, work.shard, work.watcher):
        if done := finished(work.out, work.settings, False):
            return done
        work = _begin(work)
    with working(work.out, work.shard):
        _prepare_pixels(work)
    with held(work.out, work.shard, work.watcher):
        if done := finished(work.out, work.settings, False):
            return done
        if missing := missing_shards(work.out, work.chunks, work.shard):
            work.watcher.note(f"shard {work.shard} is done; {work.out} still needs {', '.join(missing)}")
            return None
        return _complete(work)


def _complete(work: _Work) -> dict[str, Any]:
    """Merge what all chunks left, and say that the dataset is complete."""
    request, out = work.request, work.out
    info = {
        "format": FORMAT,
        "tool": MARKER,
        "version": __version__,
        "dataset": request.dataset,
        "protocol": request.division.protocol,
        "settings": work.settings,
        "preparation": work.preparation.to_json(),
        "classes": list(work.found.classes),
        "positive": request.positive or work.found.classes[-1],
        "patients": len(work.found.names) or None,
        "notes": list(work.parts.notes),
    }
    sweep(out)
    info |= merge(out, work.found, work.watcher)
    if verification := verification_of(request, work.found):
        info["verification"] = verification.to_json() | {"unreadable": info["quarantined"]}
    write_json(out / "dataset.json", info)
    shutil.rmtree(out / JOURNALS, ignore_errors=True)
    return info


def _keep_apart(source: Path, out: Path) -> None:
    """Raises DataError where the next look at the source would find the prepared images in it."""
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise DataError(f"{out}: lies inside the source {source}; choose a folder outside of it")


def finished(out: Path, settings: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """dataset.json if `out` is complete with these settings, None where there is work to do.

    Raises SettingsError naming the first setting that differs, DataError for a folder of somebody else.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise DataError(f"{out}: is not a folder; name another place for the prepared dataset")
    if (out / "dataset.json").exists():
        info = read_json(out / "dataset.json")
        if not isinstance(info, dict) or info.get("tool") != MARKER:
            raise DataError(f"{out}: its dataset.json was not written by bccli; choose another folder")
        if overwrite:
            return None
        _refuse_others(out, info.get("settings", {}), settings, "choose another folder or pass --overwrite")
        return info
    started = out / JOURNALS / "settings.json"
    if started.exists():
        _refuse_others(
            out, read_json(started), settings, "it is unfinished; remove it or choose another folder"
        )
    elif any(path.name != ".lock" for path in out.iterdir() if path.name != JOURNALS):
        raise DataError(f"{out}: is not empty and was not made by bccli prepare; choose another folder")
    return None


def _tidy(out: Path) -> None:
    """Remove what a `prepare` left that was killed after its last word, where the folder can be written."""
    if (out / JOURNALS).exists() or (out / ".lock").exists():
        with suppress(OSError, LockedError), locked(out):
            shutil.rmtree(out / JOURNALS, ignore_errors=True)


def _refuse_others(out: Path, there: dict[str, Any], here: dict[str, Any], advice: str) -> None:
    if difference := first_difference(there, here):
        raise SettingsError(f"{out}: was prepared with {difference}; {advice}")


def _begin(work: _Work) -> _Work:
    """Mark the folder as unfinished, clear what is outdated, and learn or recall what all chunks need."""
    _mark(work.out, work.settings)
    enter(work.out, work.shard)
    kept = kept_plan(work.out, work.shard, work.parts)
    preparation = _learn(work) if kept is None else preparation_from_json(kept)
    if kept is None:
        keep_plan(work.out, work.shard, work.parts, preparation.to_json())
    return replace(work, request=replace(work.request, preparation=preparation))


def _learn(work: _Work) -> Preparation:
    """The preparation with what it learns: under honest from train only."""
    request, preparation = work.request, work.preparation
    for lacking, learn, most in _LESSONS:
        if lacking(preparation):
            samples = tuple(_to_learn_from(work, most))
            examples = Examples(samples, request.source, request.reading, work.workers, work.watcher)
            preparation = learn(preparation, examples)
    return preparation


def _lacks_stain(preparation: Preparation) -> bool:
    return preparation.stain is not None and preparation.stain.target is None


def _lacks_size(preparation: Preparation) -> bool:
    return preparation.size == MEAN


# What may be lacking, how it is learned, and from how many images at most.
_LESSONS: tuple[
    tuple[Callable[[Preparation], bool], Callable[[Preparation, Examples], Preparation], int], ...
] = (
    (_lacks_stain, learn_stain, ENOUGH),
    (_lacks_size, learn_size, sys.maxsize),
)


def _to_learn_from(work: _Work, most: int) -> Iterator[Sample]:
    """The samples of train, or under the paper's protocol all; of many the `most`, evenly spread."""
    honest = work.request.division.protocol == "honest"
    everyone = np.arange(len(work.found.labels))
    candidates = np.flatnonzero(work.parts.splits == TRAIN) if honest else everyone
    chosen = set(spread(candidates, most).tolist())
    drawn = enumerate(drawn_samples(work.request, work.parts.drawn))
    return (sample for place, sample in drawn if place in chosen)


def _mark(out: Path, settings: dict[str, Any]) -> None:
    """Mark the folder as unfinished before anything else in it changes, then clear what is outdated."""
    journals = out / JOURNALS
    journals.mkdir(exist_ok=True)
    if (out / "dataset.json").exists():
        for journal in journals.glob("*.json"):
            journal.unlink()
    write_json(journals / "settings.json", settings)
    if are_shards(out):
        return
    sweep(out)
    (out / "dataset.json").unlink(missing_ok=True)
    for name in ("manifest.csv", "quarantine.csv", "preview.png", "stats.png"):
        (out / name).unlink(missing_ok=True)
    if not any(path.stem.isdecimal() for path in journals.glob("*.json")):
        for name in ("images", "masks", ".cache"):
            with suppress(FileNotFoundError):
                shutil.rmtree(out / name)


def _prepare_pixels(work: _Work) -> None:
    size, images = chunk_size(work.preparation), len(work.found.labels)
    total = sum(min(size, images - size * chunk) for chunk in range(work.chunks) if work.shard.has(chunk))
    workers = sensible_workers(work.preparation, images, work.workers)
    reused = 0
    jobs = (chunk for chunk in _chunks(work) if work.shard.has(chunk.number))
    with (
        interruption.deferred(),
        work.watcher.track(total, "images") as advance,
        closing(in_order(prepare_chunk, jobs, workers)) as results,
    ):
        for done, before in results:
            advance(done)
            reused += before
            interruption.stop_if_requested()
    if reused:
        work.watcher.note(f"{reused} of {total} images were ready from an earlier start")


def _chunks(work: _Work) -> Iterator[Chunk]:
    """The raw dataset in chunks, each sample with its split or fold."""
    request, parts = work.request, work.parts
    samples: list[Sample] = []
    number = 0

    def chunk() -> Chunk:
        first = number - len(samples)
        return Chunk(first, tuple(samples), request.source, work.out, request.preparation, request.reading)

    for number, sample in enumerate(drawn_samples(request, parts.drawn), 1):
        if number > len(parts.splits):
            break
        split, fold = int(parts.splits[number - 1]), int(parts.folds[number - 1])
        samples.append(
            replace(sample, split=SPLITS[split] if split >= 0 else "", fold=fold if fold >= 0 else None)
        )
        if len(samples) == chunk_size(request.preparation):
            yield chunk()
            samples.clear()
    if samples:
        yield chunk()
    if number != len(parts.splits):
        raise DataError(
            f"{request.source}: files came or went while it was being read; run the command again"
        )
