"""What is asked of `prepare`, and what it would come to: a survey, a plan, an estimate."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import DATASETS, nearest
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.data.positive_class import Positive, find_positive, positive_sentence
from bccli.core.datasets import Reading, pose, read_samples
from bccli.core.datasets.layout.folders import find_layout
from bccli.core.datasets.layout.levels import better_source
from bccli.core.datasets.layout.patient_hints import patient_hint
from bccli.core.datasets.loading import file_size, load_raw
from bccli.core.errors import DataError, ExcludedError, SourceError, UsageError
from bccli.core.imaging.formats.decoding import to_rgb
from bccli.core.imaging.preparation import MEAN, Preparation, prepare_image
from bccli.core.imaging.stains.normalisation import STAINS
from bccli.core.preparation.chunks import chunk_size
from bccli.core.preparation.division import Division, Plan, few_sentence
from bccli.core.preparation.estimate import Estimate, estimate
from bccli.core.preparation.split_plan import draw_and_plan
from bccli.core.preparation.survey import Survey, survey
from bccli.core.preparation.verification import Tally, Verification, verify
from bccli.core.progress import SILENT, Watcher

# Below this many images, or mammograms, starting worker processes takes longer than the work.
_WORTH_WORKERS, _LARGE_WORTH_WORKERS = 200, 50


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
        if not self.division.keep:
            del settings["keep"]
        # the seed is the division's, and what the list of patients says is in the listing's hash; a region
        # is what needs masks
        apart = ("seed", "patient_list", "needs_masks")
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
    """Survey the raw dataset and plan its splits without writing anything.

    No pixel is looked at, so that copies of one picture are not found yet.
    """
    return divide(request, examine(request, watcher), watcher)


def examine(request: Request, watcher: Watcher = SILENT) -> Survey:
    """Survey the raw dataset, and say what was noticed."""
    found = _survey(request)
    if request.positive is not None and request.positive not in found.classes:
        hint = nearest(request.positive, found.classes)
        raise UsageError(f"--positive {request.positive!r} is none of {', '.join(found.classes)}{hint}")
    watcher.note(positive_sentence(found.classes, positive_in(request, found)))
    _check_masks(request, found)
    for remark in found.tally.remarked():
        watcher.warn(remark.sentence())
    if found.tally.others:
        watcher.warn(found.tally.others.sentence())
    if _has_split_folders(request, found):
        watcher.note("folders are taken for the splits that they are called by; see --split-by patient")
    if verification := verification_of(request, found):
        for sentence in verification.sentences():
            watcher.warn(sentence)
    return found


def divide(request: Request, found: Survey, watcher: Watcher = SILENT) -> tuple[Survey, Plan]:
    """Draw the images that are wanted and plan their splits, and say what to know of them."""
    found, parts = draw_and_plan(found, request.division)
    for note in parts.notes:
        watcher.warn(note)
    if few := few_sentence(found, parts):
        watcher.warn(few)
    unknown = found.patients < 0
    if unknown.any():
        joined = int(unknown.sum()) - len(np.setdiff1d(found.groups[unknown], found.groups[~unknown]))
        but = f", but for {joined} that show the picture of another" if joined else ""
        watcher.warn(
            f"the patients of {int(unknown.sum())} images are unknown; "
            f"each such image counts as a patient of its own{but}"
        )
        if hint := _patient_hint(request):
            watcher.warn(hint)
    return found, parts


def _has_split_folders(request: Request, found: Survey) -> bool:
    """Whether splits are those that folders are called by."""
    own = request.division.by in ("default", "official")
    return request.dataset == "folder" and own and bool((found.splits >= 0).any())


def _patient_hint(request: Request) -> str:
    """How the patients may be found in the paths of the dataset `folder`, where nothing was said of them."""
    reading = request.reading
    if request.dataset != "folder" or reading.patient_regex or reading.patient_list:
        return ""
    depth = find_layout(request.source).depth
    samples = read_samples(request.dataset, request.source, reading, Tally().remark)
    return patient_hint((sample.label, sample.source, depth) for sample in samples)


def positive_in(request: Request, found: Survey) -> Positive:
    """The positive class: given, known from the task or the names, or the last one."""
    ordered = DATASETS[request.dataset].find_task(request.reading.task) is not None
    return find_positive(found.classes, request.positive, ordered=ordered)


def _check_masks(request: Request, found: Survey) -> None:
    """Raise UsageError where regions are wanted of a class of which no image has a mask."""
    region = request.preparation.region
    lacking = [name for name in found.classes if name not in found.masked]
    if region and lacking and not DATASETS[request.dataset].draws_masks:
        raise UsageError(
            f"--roi {region.roi}: no image of class {' or '.join(lacking)} has a mask, and without one there "
            "is no region; choose another --task, or leave --roi out"
        )


def foresee(request: Request, found: Survey, parts: Plan, out: Path, workers: int) -> Estimate:
    """What the request will take, from a handful of its images.

    A stain target that is still to be learned is taken from them, too.
    """

    def produce(sample: Sample) -> Iterator[np.ndarray]:
        with suppress(ExcludedError):
            raw = load_raw(sample, request.source, request.reading)
            steps = _as_if_learned(request.preparation, raw.image)
            for piece in prepare_image(raw.image, steps, raw.mask).patches:
                yield from (piece.image,) if piece.mask is None else (piece.image, piece.mask)

    total = len(found.labels)
    return estimate(
        drawn_samples(request, parts.drawn),
        produce,
        total=total,
        out=out,
        workers=sensible_workers(request.preparation, total, workers),
        chunk=chunk_size(request.preparation),
    )


def _as_if_learned(preparation: Preparation, image: np.ndarray) -> Preparation:
    """The preparation with any target and size, so that it takes as long as with what is learned."""
    if preparation.size == MEAN:
        preparation = replace(preparation, size=image.shape[1::-1])
    stain = preparation.stain
    if stain is None or stain.target is not None:
        return preparation
    fit = STAINS[stain.method].measure(to_rgb(image))
    return replace(preparation, stain=None if fit is None else replace(stain, target=fit))


def sensible_workers(preparation: Preparation, images: int, workers: int) -> int:
    """One where the others would take longer to start than to work."""
    enough = _LARGE_WORTH_WORKERS if preparation.in_grey else _WORTH_WORKERS
    return workers if images >= enough or preparation.patches else 1


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
    row, reading = DATASETS[request.dataset], request.reading
    task = row.find_task(reading.task)
    editions = [
        edition
        for edition in row.editions
        if (not edition.tasks or (task and task.name in edition.tasks))
        and edition.protocol in ("", reading.protocol)
    ]
    return verify(found.tally, editions, reading.magnifications)


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


def drawn_samples(request: Request, drawn: np.ndarray | None) -> Iterator[Sample]:
    """The samples that the plan is about, with their classes in the task."""
    task = DATASETS[request.dataset].find_task(request.reading.task)
    wanted = None if drawn is None else set(drawn.tolist())
    for position, sample in enumerate(
        read_samples(request.dataset, request.source, request.reading, Tally().remark)
    ):
        if wanted is None or position in wanted:
            yield pose(sample, task)
