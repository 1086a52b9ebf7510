"""The data of a fusion on vectors from files: slides as their files have them, or rows of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.fusion.bags import Grouping, group
from bccli.core.fusion.fusion_data import FusionData, data_of_patches
from bccli.core.fusion.inputs import BagInputs
from bccli.core.fusion.patch_run import PatchNetwork
from bccli.core.models.dense.dense_head import load_head
from bccli.core.runs.run_folder import HEAD_FILE, Run, load_run
from bccli.core.training.design import Job
from bccli.core.training.frozen.sources import vectors_source
from bccli.core.vectors.contents import SlideVectors
from bccli.core.vectors.given import GivenVectors, RowsOnly

_NOT_NEEDED = 1
"""The distance of patches where nobody says where they lie."""


def load_vector_bags(job: Job, run: Run) -> FusionData:
    """The images of a job as bags of vectors, which stay on the disk.

    Raises DataError where the vectors belong to no patches, and where those of a patch run are others.
    """
    given = job.design.vectors
    assert given is not None
    used = np.flatnonzero(job.split_codes >= 0)
    samples = tuple(job.dataset.samples[row] for row in used.tolist())
    patch = _patch_network(job, run, given)
    codes, seed = job.split_codes[used], job.design.schedule.seed
    if not given.found.of_slides:
        if job.dataset.preparation.patches is None:
            raise DataError(
                f"{given.path}: has one vector for an image, and --head {job.design.head.kind} is about the "
                "patches of an image; give a folder with a file for each slide, or leave --head out"
            )
        inputs = BagInputs(given.values(used), group(samples, codes), seed=seed)
        return data_of_patches(job, samples, inputs, codes, patch, RowsOnly(samples).size)
    return _of_slides(job, samples, [given.found.slide(row) for row in used.tolist()], codes, patch)


def _patch_network(job: Job, run: Run, given: GivenVectors) -> PatchNetwork:
    """The source of the vectors, and the head of the patch run that is named, if there is one."""
    source = vectors_source(job, run.root)
    if job.design.fusing is None:
        return PatchNetwork(source, None)
    base = load_run(job.design.fusing.base)
    facts = base.info.vectors
    if facts is None or base.info.kind != "head" or facts["width"] != given.width:
        what = f"vectors of {facts['width']} numbers" if facts else "images"
        raise DataError(
            f"{base.root}: was trained on {what}, and {given.path} has vectors of {given.width}; name a run "
            "that train --features made of single patches with a dense head"
        )
    if base.classes != job.dataset.classes:
        raise DataError(f"{base.root}: knows other classes than {job.dataset.root}; name a run of the same")
    return PatchNetwork(source, load_head(base.file(HEAD_FILE)))


@dataclass(frozen=True)
class SlideRows:
    """The vectors of several slides behind each other (n, width); the first of each is at `starts`."""

    slides: tuple[SlideVectors, ...]
    starts: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, slides: Sequence[SlideVectors]) -> "SlideRows":
        """Those of some slides."""
        counts = [slide.values.shape[0] for slide in slides]
        starts = np.cumsum([0, *counts])
        return cls(tuple(slides), starts[:-1], (int(starts[-1]), slides[0].values.shape[1]))

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Those at some positions, float32 (positions, width)."""
        found = np.empty((len(positions), self.shape[1]), np.float32)
        owners = np.searchsorted(self.starts, positions, side="right") - 1
        for owner in np.unique(owners).tolist():
            here = np.flatnonzero(owners == owner)
            found[here] = self.slides[owner].values[positions[here] - self.starts[owner]]
        return found


def _of_slides(
    job: Job,
    samples: Sequence[Sample],
    slides: Sequence[SlideVectors],
    codes: np.ndarray,
    patch: PatchNetwork,
) -> FusionData:
    values = SlideRows.of(slides)
    places = [places_of(slide) for slide in slides]
    orders = [np.lexsort((columns, rows)) for rows, columns in (at.T for at in places)]
    members = np.full((len(slides), max(map(len, orders))), -1)
    for row, order, start in zip(members, orders, values.starts.tolist(), strict=True):
        row[: len(order)] = order + start
    grouping = Grouping(tuple(sample.path for sample in samples), members, members[:, 0])
    has_places = all(slide.places for slide in slides)
    if job.design.head.kind == "blocks-2x2" and not has_places:
        lacking = next(slide for slide in slides if slide.places is None)
        raise DataError(
            f"{lacking.path}: does not say where its patches lie, and --head blocks-2x2 joins neighbours; "
            "add the array 'coords', or take --head attention"
        )
    return FusionData(
        job,
        tuple(samples),
        BagInputs(values, grouping, seed=job.design.schedule.seed, uneven=True),
        codes,
        np.array([job.dataset.classes.index(sample.label) for sample in samples]),
        patch,
        lambda image: places[image][orders[image]],
        None,
        RowsOnly(tuple(samples)).size,
        stride_of(places) if has_places else _NOT_NEEDED,
    )


def places_of(slide: SlideVectors) -> np.ndarray:
    """Row and column of a slide's patches (n, 2), in pixels; one behind the other where nobody says so."""
    if slide.places:
        return np.ascontiguousarray(slide.places()[:, ::-1])
    count = slide.values.shape[0]
    return np.stack([np.zeros(count, np.int64), np.arange(count)], axis=1)


def stride_of(places: Sequence[np.ndarray]) -> int:
    """How far apart neighbours are in most slides, by the smallest distance of rows or columns in each."""
    found = []
    for at in places:
        steps = np.concatenate([np.diff(np.unique(column)) for column in at.T])
        if len(steps):
            found.append(int(steps.min()))
    return int(np.bincount(found).argmax()) if found else _NOT_NEEDED
