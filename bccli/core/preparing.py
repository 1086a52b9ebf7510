"""From a raw dataset to a prepared one: survey, plan, chunks of pixels, audit, and dataset.json last."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli import __version__
from bccli.core import interruption
from bccli.core.catalog import DATASETS, nearest
from bccli.core.chunks import JOURNALS, Chunk, chunk_size, prepare_chunk
from bccli.core.datasets import Reading, pose, read_samples
from bccli.core.datasets.levels import better_source
from bccli.core.datasets.loading import file_size, load_raw
from bccli.core.errors import DataError, LockedError, SettingsError, UsageError
from bccli.core.estimating import Estimate, estimate
from bccli.core.files import locked, read_json, sweep, write_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json, prepare_image
from bccli.core.imaging.stain import STAINS
from bccli.core.learning import learn_stain, spread
from bccli.core.merging import merge
from bccli.core.planning import Division, Plan, draw_and_plan
from bccli.core.prepared import FORMAT, MARKER, first_difference
from bccli.core.records import SPLITS, Sample
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
from bccli.core.surveying import SourceError, Survey, survey
from bccli.core.verification import Tally, Verification, verify
from bccli.core.watching import SILENT, Watcher
from bccli.core.workers import in_order

# Below this many images, starting worker processes takes longer than the work.
_WORTH_WORKERS = 200


@dataclass(frozen=True)
class Request:
    """All that decides what a prepared dataset will hold."""

    dataset: str
    source: Path
    division: Division = field(default_factory=Division)
    preparation: Preparation = field(default_factory=Preparation)
    reading: Reading = field(default_factory=Reading)
    positive: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings by which two calls are the same, without where folders lie."""
        settings = {"dataset": self.dataset, **asdict(self.division), **self.preparation.to_json()}
        # the seed is the division's, and what the list of patients says is in the listing's hash
        apart = ("seed", "patient_list")
        settings |= {key: value for key, value in asdict(self.reading).items() if key not in apart}
        return json.loads(json.dumps({**settings, "positive": self.positive}))


@dataclass(frozen=True)
class Count:
    """How many images and patients (None where unknown) of a class are in a split or fold."""

    part: str
    label: str
    images: int
    patients: int | None


def look(request: Request, watcher: Watcher = SILENT) -> tuple[Survey, Plan]:
    """Survey the raw dataset and plan its splits without writing anything."""
    found = _survey(request)
    if request.positive is not None and request.positive not in found.classes:
        hint = nearest(request.positive, found.classes)
        raise UsageError(f"--positive {request.positive!r} is none of {', '.join(found.classes)}{hint}")
    for remark in found.tally.remarked():
        watcher.warn(remark.sentence())
    if verification := verification_of(request, found):
        for sentence in verification.sentences():
            watcher.warn(sentence)
    found, parts = draw_and_plan(found, request.division)
    for note in parts.notes:
        watcher.warn(note)
    unknown = int((found.patients < 0).sum())
    if unknown:
        watcher.warn(
            f"the patients of {unknown} images are unknown; each such image counts as a patient of its own"
        )
    return found, parts


def foresee(request: Request, found: Survey, parts: Plan, out: Path, workers: int) -> Estimate:
    """What the request will take, from a handful of its images.

    A stain target that is still to be learned is taken from them, too.
    """

    def produce(sample: Sample) -> Iterator[np.ndarray]:
        raw, mask = load_raw(sample, request.source, request.reading)
        for piece in prepare_image(raw, _with_some_target(request.preparation, raw), mask).pieces:
            yield from (piece.image,) if piece.mask is None else (piece.image, piece.mask)

    total = len(found.labels)
    return estimate(
        _drawn_samples(request, parts.drawn),
        produce,
        total=total,
        out=out,
        workers=_sensible_workers(request.preparation, total, workers),
        chunk=chunk_size(request.preparation),
    )


def _with_some_target(preparation: Preparation, image: np.ndarray) -> Preparation:
    """The preparation with any target, so that it takes as long as with the one that is learned."""
    stain = preparation.stain
    if stain is None or stain.target is not None:
        return preparation
    fit = STAINS[stain.method].measure(image)
    return replace(preparation, stain=None if fit is None else replace(stain, target=fit))


def _sensible_workers(preparation: Preparation, images: int, workers: int) -> int:
    """One where the others would take longer to start than to work."""
    return workers if images >= _WORTH_WORKERS or preparation.patches else 1


def _survey(request: Request) -> Survey:
    """The survey of a request. Raises DataError, naming a better source where one suggests itself."""
    row = DATASETS[request.dataset]
    task = row.find_task(request.reading.task)

    def read(tally: Tally) -> Iterator[Sample]:
        return read_samples(request.dataset, request.source, request.reading, tally.remark)

    try:
        return survey(
            read,
            task.classes if task else (),
            lambda sample: file_size(sample, request.source),
            lambda sample: pose(sample, task),
        )
    except DataError as error:
        known = (str(request.source), "phantom", str(request.reading.patient_list))
        prefix = "" if str(error).startswith(known) else f"{request.source}: "
        hint = ""
        if isinstance(error, SourceError):
            hint = _other_magnifications(request) or better_source(request.dataset, request.source)
        raise DataError(f"{prefix}{error}{hint}") from None


def _other_magnifications(request: Request) -> str:
    """Which magnifications there are, where those asked for may be why nothing was found."""
    if not request.reading.magnifications:
        return ""
    everything = replace(request.reading, magnifications=())
    with suppress(DataError):
        samples = read_samples(request.dataset, request.source, everything, Tally().remark)
        there = {sample.magnification for sample in samples}
        if there - set(request.reading.magnifications):
            known = ", ".join(f"{name}×" for name in sorted(there, key=lambda name: (len(name), name)))
            return f"; there are images at {known}"
    return ""


def verification_of(request: Request, found: Survey) -> Verification | None:
    """What of the dataset is there, None where its table does not say what belongs to it."""
    editions = DATASETS[request.dataset].editions
    return verify(found.tally, editions, request.reading.magnifications)


def count_plan(found: Survey, parts: Plan) -> list[Count]:
    """The table of a dry run."""
    by_fold = (parts.folds >= 0).any()
    codes = parts.folds if by_fold else parts.splits
    names = {code: f"fold {code}" if by_fold else SPLITS[code] for code in sorted(set(codes.tolist()))}
    rows = []
    for code, name in names.items():
        for number, label in enumerate(found.classes):
            here = (codes == code) & (found.labels == number)
            known = {patient for patient in found.patients[here].tolist() if patient >= 0}
            rows.append(Count(name, label, int(here.sum()), len(known) or None))
    return rows


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
    with ExitStack() as whole:
        whole.enter_context(held(out, shard, watcher))
        if done := finished(out, settings, overwrite):  # by another process, since we looked
            return done
        request = _begin(request, out, settings, found, parts, shard, workers, watcher)
        if shard != WHOLE:
            whole.close()  # others may plan and work, too
        with working(out, shard):
            _prepare_pixels(request, out, found, parts, shard, workers, watcher)
        if shard == WHOLE:
            return _complete(request, out, settings, found, parts, watcher)
    with held(out, shard, watcher):
        if done := finished(out, settings, False):
            return done
        chunks = -(-len(found.labels) // chunk_size(request.preparation))
        if missing := missing_shards(out, chunks, shard):
            watcher.note(f"shard {shard} is done; {out} still needs {', '.join(missing)}")
            return None
        return _complete(request, out, settings, found, parts, watcher)


def _complete(
    request: Request, out: Path, settings: dict[str, Any], found: Survey, parts: Plan, watcher: Watcher
) -> dict[str, Any]:
    """Merge what all chunks left, and say that the dataset is complete."""
    info = {
        "format": FORMAT,
        "tool": MARKER,
        "version": __version__,
        "dataset": request.dataset,
        "protocol": request.division.protocol,
        "settings": settings,
        "preparation": request.preparation.to_json(),
        "classes": list(found.classes),
        "positive": request.positive or found.classes[-1],
        "patients": len(found.names) or None,
        "notes": list(parts.notes),
    }
    sweep(out)
    info |= merge(out, found, watcher)
    if verification := verification_of(request, found):
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


def _begin(
    request: Request,
    out: Path,
    settings: dict[str, Any],
    found: Survey,
    parts: Plan,
    shard: Shard,
    workers: int,
    watcher: Watcher,
) -> Request:
    """Mark the folder as unfinished, clear what is outdated, and learn or recall what all chunks need."""
    _mark(out, settings)
    enter(out, shard)
    if (kept := kept_plan(out, shard, parts)) is None:
        request = _learned(request, found, parts, workers, watcher)
        keep_plan(out, shard, parts, request.preparation.to_json())
        return request
    return replace(request, preparation=preparation_from_json(kept))


def _learned(request: Request, found: Survey, parts: Plan, workers: int, watcher: Watcher) -> Request:
    """The request with what its preparation learns: under honest from train only."""
    stain = request.preparation.stain
    if stain is None or stain.target is not None:
        return request
    honest = request.division.protocol == "honest"
    chosen = set(spread(np.flatnonzero(parts.splits == TRAIN) if honest else np.arange(len(found.labels))))
    samples = (sample for place, sample in enumerate(_drawn_samples(request, parts.drawn)) if place in chosen)
    learned = learn_stain(
        request.preparation, samples, request.source, request.reading, workers=workers, watcher=watcher
    )
    return replace(request, preparation=learned)


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


def _prepare_pixels(
    request: Request, out: Path, found: Survey, parts: Plan, shard: Shard, workers: int, watcher: Watcher
) -> None:
    size, images = chunk_size(request.preparation), len(found.labels)
    total = sum(min(size, images - first) for first in range(0, images, size) if shard.has(first // size))
    workers = _sensible_workers(request.preparation, images, workers)
    reused = 0
    jobs = (chunk for chunk in _chunks(request, out, parts) if shard.has(chunk.number))
    with (
        interruption.deferred(),
        watcher.track(total, "images") as advance,
        closing(in_order(prepare_chunk, jobs, workers)) as results,
    ):
        for images, before in results:
            advance(images)
            reused += before
            interruption.stop_if_requested()
    if reused:
        watcher.note(f"{reused} of {total} images were ready from an earlier start")


def _chunks(request: Request, out: Path, parts: Plan) -> Iterator[Chunk]:
    """The raw dataset in chunks, each sample with its split or fold."""
    samples: list[Sample] = []
    number = 0
    for number, sample in enumerate(_drawn_samples(request, parts.drawn), 1):
        if number > len(parts.splits):
            break
        split, fold = int(parts.splits[number - 1]), int(parts.folds[number - 1])
        samples.append(
            replace(sample, split=SPLITS[split] if split >= 0 else "", fold=fold if fold >= 0 else None)
        )
        if len(samples) == chunk_size(request.preparation):
            yield _chunk(request, out, number - len(samples), samples)
            samples = []
    if samples:
        yield _chunk(request, out, number - len(samples), samples)
    if number != len(parts.splits):
        raise DataError(
            f"{request.source}: files came or went while it was being read; run the command again"
        )


def _drawn_samples(request: Request, drawn: np.ndarray | None) -> Iterator[Sample]:
    """The samples that the plan is about, with their classes in the task."""
    task = DATASETS[request.dataset].find_task(request.reading.task)
    wanted = None if drawn is None else set(drawn.tolist())
    for position, sample in enumerate(
        read_samples(request.dataset, request.source, request.reading, Tally().remark)
    ):
        if wanted is None or position in wanted:
            yield pose(sample, task)


def _chunk(request: Request, out: Path, first: int, samples: list[Sample]) -> Chunk:
    return Chunk(first, tuple(samples), request.source, out, request.preparation, request.reading)
