"""From a raw dataset to a prepared one: survey, plan, chunks of pixels, audit, and dataset.json last."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bccli import __version__
from bccli.core import interruption
from bccli.core.catalog import DATASETS, nearest
from bccli.core.chunks import JOURNALS, SIZE, Chunk, prepare_chunk
from bccli.core.datasets import Reading, read_samples
from bccli.core.datasets.loading import file_size
from bccli.core.errors import DataError, LockedError, SettingsError, UsageError
from bccli.core.files import locked, read_json, sweep, write_json
from bccli.core.imaging.preparation import Preparation
from bccli.core.merging import merge
from bccli.core.planning import Division, Plan, plan
from bccli.core.prepared import FORMAT, MARKER, first_difference
from bccli.core.records import SPLITS, Sample
from bccli.core.surveying import Survey, survey
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
        settings |= {key: value for key, value in asdict(self.reading).items() if key != "seed"}
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
    known = DATASETS[request.dataset].classes

    def read(skip: Any) -> Iterator[Sample]:
        return read_samples(request.dataset, request.source, request.reading, skip)

    try:
        found = survey(read, known, lambda sample: file_size(sample, request.source))
    except DataError as error:
        prefix = "" if str(error).startswith((str(request.source), "phantom")) else f"{request.source}: "
        raise DataError(f"{prefix}{error}") from None
    if request.positive is not None and request.positive not in found.classes:
        hint = nearest(request.positive, found.classes)
        raise UsageError(f"--positive {request.positive!r} is none of {', '.join(found.classes)}{hint}")
    if found.skipped_count:
        watcher.warn(
            "images whose place or name this dataset does not know were passed over: "
            f"{found.skipped_count} ({', '.join(found.skipped)}{', …' if found.skipped_count > 3 else ''})"
        )
    parts = plan(found, request.division)
    for note in parts.notes:
        watcher.warn(note)
    unknown = int((found.patients < 0).sum())
    if unknown:
        watcher.warn(
            f"the patients of {unknown} images are unknown; each such image counts as a patient of its own"
        )
    return found, parts


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
    request: Request, out: Path, *, workers: int = 1, overwrite: bool = False, watcher: Watcher = SILENT
) -> dict[str, Any]:
    """Make, continue or recognise the prepared dataset `out`; returns what dataset.json holds.

    Raises SettingsError where `out` holds something else, Stopped after a signal.
    """
    _keep_apart(request.source, out)
    found, parts = look(request, watcher)
    settings = {**request.to_json(), "listing": found.listing}
    if done := finished(out, settings, overwrite):
        _tidy(out)
        watcher.note(f"{out} is complete; nothing to do")
        return done
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        if done := finished(out, settings, overwrite):  # by another process, since we looked
            return done
        _begin(out, settings)
        _prepare_pixels(request, out, found, parts, workers, watcher)
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
        info |= merge(out, found, watcher)
        write_json(out / "dataset.json", info)
        shutil.rmtree(out / JOURNALS)
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


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Mark the folder as unfinished before anything else in it changes, then clear what is outdated."""
    journals = out / JOURNALS
    journals.mkdir(exist_ok=True)
    if (out / "dataset.json").exists():
        for journal in journals.glob("*.json"):
            journal.unlink()
    write_json(journals / "settings.json", settings)
    sweep(out)
    (out / "dataset.json").unlink(missing_ok=True)
    for name in ("manifest.csv", "quarantine.csv", "preview.png", "stats.png"):
        (out / name).unlink(missing_ok=True)
    if len(list(journals.glob("*.json"))) == 1:
        for name in ("images", "masks", ".cache"):
            with suppress(FileNotFoundError):
                shutil.rmtree(out / name)


def _prepare_pixels(
    request: Request, out: Path, found: Survey, parts: Plan, workers: int, watcher: Watcher
) -> None:
    total = len(found.labels)
    workers = workers if total >= _WORTH_WORKERS else 1
    reused = 0
    jobs = _chunks(request, out, parts)
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
    for number, sample in enumerate(
        read_samples(request.dataset, request.source, request.reading, lambda name: None), 1
    ):
        if number > len(parts.splits):
            break
        split, fold = int(parts.splits[number - 1]), int(parts.folds[number - 1])
        samples.append(
            replace(sample, split=SPLITS[split] if split >= 0 else "", fold=fold if fold >= 0 else None)
        )
        if len(samples) == SIZE:
            yield _chunk(request, out, number - len(samples), samples)
            samples = []
    if samples:
        yield _chunk(request, out, number - len(samples), samples)
    if number != len(parts.splits):
        raise DataError(
            f"{request.source}: files came or went while it was being read; run the command again"
        )


def _chunk(request: Request, out: Path, first: int, samples: list[Sample]) -> Chunk:
    return Chunk(first, tuple(samples), request.source, out, request.preparation, request.reading)
