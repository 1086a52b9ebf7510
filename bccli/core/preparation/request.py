"""The request to `prepare`, with its survey, its plan and its estimate."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli import __version__
from bccli.core.catalog import DATASETS, nearest
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.data.positive_class import Positive, find_positive, positive_sentence
from bccli.core.datasets import Reading, pose, read_samples
from bccli.core.datasets.joining import sentence, table_of
from bccli.core.datasets.layout.folders import find_layout
from bccli.core.datasets.layout.levels import better_source
from bccli.core.datasets.layout.patient_hints import patient_hint
from bccli.core.datasets.loading import file_size, load_raw
from bccli.core.datasets.verification import JOINED, Tally, Verification, verify
from bccli.core.errors import DataError, ExcludedError, SourceError, UsageError
from bccli.core.files import file_hash
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.preparation import MEAN, Preparation, prepare_image
from bccli.core.imaging.stains.normalisation import STAINS
from bccli.core.preparation.chunks import chunk_size
from bccli.core.preparation.division import Division, Plan, few_sentence
from bccli.core.preparation.estimate import Estimate, estimate
from bccli.core.preparation.split_plan import draw_and_plan
from bccli.core.preparation.survey import Survey, survey
from bccli.core.progress import SILENT, Watcher

# Below this many images, or mammograms, starting worker processes takes longer than the work.
_WORTH_WORKERS, _LARGE_WORTH_WORKERS = 200, 50


@dataclass(frozen=True)
class Request:
    """All settings that decide the content of a prepared dataset; without `images`, that are rows only."""

    dataset: str
    source: Path
    division: Division = field(default_factory=Division)
    preparation: Preparation = field(default_factory=Preparation)
    reading: Reading = field(default_factory=Reading)
    positive: str | None = None
    images: bool = True

    def to_json(self) -> dict[str, Any]:
        """The settings by which two calls are the same, without where folders lie."""
        settings = {"dataset": self.dataset, **asdict(self.division), **self.preparation.to_json()}
        if not self.division.keep:
            del settings["keep"]
        # The division has the seed, the listing's hash covers the list of patients, and only a region needs
        # masks.
        apart = ("seed", "patient_list", "needs_masks", "metadata", "metadata_key")
        settings |= {key: value for key, value in asdict(self.reading).items() if key not in apart}
        if self.reading.metadata:
            settings |= {
                "metadata_hash": file_hash(self.reading.metadata),
                "metadata_key": self.reading.metadata_key,
            }
        settings |= {"positive": self.positive} | ({} if self.images else {"images": False})
        return json.loads(json.dumps(settings))


def look(request: Request, watcher: Watcher = SILENT) -> tuple[Survey, Plan]:
    """Survey the raw dataset and plan its splits without writing anything.

    It reads no pixels, and so does not find copies of one picture.
    """
    return divide(request, examine(request, watcher), watcher)


def examine(request: Request, watcher: Watcher = SILENT) -> Survey:
    """Survey the raw dataset, and report everything unusual to the watcher."""
    found = _survey(request)
    if request.positive is not None and request.positive not in found.classes:
        hint = nearest(request.positive, found.classes)
        raise UsageError(f"--positive {request.positive!r} is none of {', '.join(found.classes)}{hint}")
    watcher.note(positive_sentence(found.classes, positive_in(request, found)))
    _check_masks(request, found)
    for remark in found.tally.remarked():
        if remark.kind not in JOINED:
            watcher.warn(remark.sentence())
    _tell_joined(request, found, watcher)
    if found.tally.others:
        watcher.warn(found.tally.others.sentence())
    if _has_split_folders(request, found):
        watcher.note("folders are taken for the splits that they are called by; see --split-by patient")
    if verification := verification_of(request, found):
        for sentence in verification.sentences():
            watcher.warn(sentence)
    return found


def _tell_joined(request: Request, found: Survey, watcher: Watcher) -> None:
    """Say how the images and the table of --metadata went together, as a warning where some did not."""
    reading = request.reading
    if reading.metadata:
        table = table_of(reading.metadata, reading.metadata_key, request.source)
        tell = watcher.warn if any(kind in found.tally.remarks for kind in JOINED) else watcher.note
        tell(sentence(table, found.tally))


def divide(request: Request, found: Survey, watcher: Watcher = SILENT) -> tuple[Survey, Plan]:
    """Draw the sample of images and plan its splits, and report what the user should know about them."""
    found, plan = draw_and_plan(found, request.division)
    for note in plan.notes:
        watcher.warn(note)
    if few := few_sentence(found, plan):
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
    return found, plan


def _has_split_folders(request: Request, found: Survey) -> bool:
    """Whether the names of folders decide on the splits."""
    own = request.division.by in ("default", "official")
    return request.dataset == "folder" and own and bool((found.splits >= 0).any())


def _patient_hint(request: Request) -> str:
    """Suggest how to find patients in the paths of the dataset `folder`, where the user names no way."""
    reading = request.reading
    if request.dataset != "folder" or reading.patient_regex or reading.patient_list:
        return ""
    depth = find_layout(request.source).depth
    samples = read_samples(request.dataset, request.source, reading, Tally().remark)
    return patient_hint((sample.label, sample.source, depth) for sample in samples)


def facts_of_request(
    request: Request, found: Survey, plan: Plan, settings: dict[str, Any], preparation: dict[str, Any]
) -> dict[str, Any]:
    """What dataset.json says whether images were prepared or only rows about them."""
    positive = positive_in(request, found)
    return {
        "version": __version__,
        "dataset": request.dataset,
        "protocol": request.division.protocol,
        "settings": settings,
        "preparation": preparation,
        "classes": list(found.classes),
        "positive": positive.name,
        "positive_origin": positive.origin,
        "patients": len(found.names) or None,
        "notes": list(plan.notes),
    }


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


def foresee(
    request: Request, found: Survey, plan: Plan, out: Path, workers: int, *, pack: bool = False
) -> Estimate:
    """Estimate the space and the time that the request takes, from a handful of its images.

    They also serve to learn a stain target that is not known yet.
    """

    def produce(sample: Sample) -> Iterator[np.ndarray]:
        with suppress(ExcludedError):
            raw = load_raw(sample, request.source, request.reading)
            steps = _as_if_learned(request.preparation, raw.image)
            for patch in prepare_image(raw.image, steps, raw.mask).patches:
                yield from (patch.image,) if patch.mask is None else (patch.image, patch.mask)

    total = len(found.labels)
    return estimate(
        drawn_samples(request, plan.drawn),
        produce,
        total=total,
        out=out,
        workers=sensible_workers(request.preparation, total, workers),
        chunk=chunk_size(request.preparation),
        pack=pack,
    )


def _as_if_learned(preparation: Preparation, image: np.ndarray) -> Preparation:
    """The preparation with some target and size, so that it takes as long as with the learned ones."""
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
    """The survey of a request. Raises DataError, which names a better source where there is one."""
    row = DATASETS[request.dataset]
    task = row.find_task(request.reading.task)

    def read(tally: Tally) -> Iterator[Sample]:
        return read_samples(request.dataset, request.source, request.reading, tally.remark)

    try:
        return survey(
            read,
            task.classes if task else (),
            lambda sample: file_size(sample, request.source) if request.images else -1,
            lambda sample: pose(sample, task),
        )
    except DataError as error:
        reading = request.reading
        known = (
            *(str(request.source), "phantom", "--metadata"),
            *(str(path) for path in (reading.patient_list, reading.metadata) if path),
        )
        prefix = "" if str(error).startswith(known) else f"{request.source}: "
        hint = ""
        if isinstance(error, SourceError):
            hint = _other_magnifications(request) or better_source(request.dataset, request.source)
        raise DataError(f"{prefix}{error}{hint}") from None


def _other_magnifications(request: Request) -> str:
    """Name the magnifications of the dataset, where --magnification may be why no image was found."""
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
    """Verify the download; None where the catalog does not say what belongs to the dataset."""
    row, reading = DATASETS[request.dataset], request.reading
    task = row.find_task(reading.task)
    editions = [
        edition
        for edition in row.editions
        if (not edition.tasks or (task and task.name in edition.tasks))
        and edition.protocol in ("", reading.protocol)
    ]
    return verify(found.tally, editions, reading.magnifications)


def drawn_samples(request: Request, drawn: np.ndarray | None) -> Iterator[Sample]:
    """Yield the samples of the plan, with their classes in the task."""
    task = DATASETS[request.dataset].find_task(request.reading.task)
    wanted = None if drawn is None else set(drawn.tolist())
    for position, sample in enumerate(
        read_samples(request.dataset, request.source, request.reading, Tally().remark)
    ):
        if wanted is None or position in wanted:
            yield pose(sample, task)


def planned_samples(request: Request, found: Survey, plan: Plan) -> Iterator[Sample]:
    """Yield the samples of the plan with their splits or folds and groups.

    Raises DataError where there are others than those of the survey.
    """
    number, names, groups = 0, _group_names(found), found.groups
    for number, sample in enumerate(drawn_samples(request, plan.drawn), 1):
        if number > len(plan.splits):
            break
        split, fold = int(plan.splits[number - 1]), int(plan.folds[number - 1])
        group = names.setdefault(int(groups[number - 1]), sample.source)
        yield replace(
            sample,
            split=SPLITS[split] if split >= 0 else "",
            fold=fold if fold >= 0 else None,
            group=group,
        )
    if number != len(plan.splits):
        raise DataError(
            f"{request.source}: files came or went while it was being read; run the command again"
        )


def _group_names(found: Survey) -> dict[int, str]:
    """The groups of known patients, each by its first one's name; others get that of their first image."""
    known = np.flatnonzero(found.patients >= 0)
    groups, first = np.unique(found.groups[known], return_index=True)
    patients = found.patients[known[first]]
    return {group: found.names[who] for group, who in zip(groups.tolist(), patients.tolist(), strict=True)}
