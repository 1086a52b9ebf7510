"""`prepare csv --no-images`: a table of images that are elsewhere becomes a prepared dataset.

Nothing is decoded or copied, so there are no journals: the manifest is written at once, dataset.json last.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bccli.core.data.audit import facts_of, hash_table
from bccli.core.data.audit_pairs import conflicts_json, split_or_fold
from bccli.core.data.dataset import MANIFEST_FILE, STATS_FILE, DatasetInfo
from bccli.core.data.manifest import MANIFEST, SPLITS, ContentHash, Sample
from bccli.core.errors import DataError
from bccli.core.files import leaves_folder, write_bytes
from bccli.core.imaging.preparation import Preparation
from bccli.core.preparation.counts import Census
from bccli.core.preparation.division import Plan
from bccli.core.preparation.merge import audit_of, counts_of, table_writer
from bccli.core.preparation.request import (
    Request,
    divide,
    examine,
    facts_of_request,
    planned_samples,
    positive_in,
)
from bccli.core.preparation.resumable import Making, make, recognised
from bccli.core.preparation.stats_png import draw_stats
from bccli.core.preparation.survey import Survey, metadata_counts
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.shard import WHOLE

NOT_COMPARED = "the images are elsewhere, so pixels could not be compared: the audit is by patient alone"


@dataclass(frozen=True)
class _Rows(Making):
    """The dataset in the making: the request, and the survey of its rows."""

    request: Request
    found: Survey

    @property
    def images(self) -> int:
        return len(self.found.labels)

    @property
    def size(self) -> int:
        return max(self.images, 1)

    def learn(self) -> dict[str, Any]:
        return Preparation().to_json()

    def work_on(self, preparation: dict[str, Any]) -> Generator[tuple[int, int], None, None]:
        """There is nothing to do before the manifest is written."""
        yield self.images, 0

    def complete(self, preparation: dict[str, Any]) -> DatasetInfo:
        samples = list(_samples(self.request, self.found, self.plan))
        census, content = Census(), ContentHash()
        with ExitStack() as stack:
            manifest = table_writer(stack, self.out / MANIFEST_FILE, (*MANIFEST, *self.found.metadata))
            for sample in samples:
                manifest.writerow(sample.to_manifest(self.found.metadata))
                census.add(sample, split_or_fold(sample))
                content.add(sample)
        background = self.found.background(positive_in(self.request, self.found).name)
        write_bytes(self.out / STATS_FILE, draw_stats(census, self.found.classes, background))
        leaks = _leaks(samples)
        return DatasetInfo.of(
            **facts_of_request(self.request, self.found, self.plan, self.settings, preparation),
            counts=counts_of(census, self.found.classes),
            sources=len(samples),
            quarantined=0,
            excluded={},
            unstained=0,
            blank=None,
            remarks={},
            audit={split: leak.to_json() for split, leak in leaks.items()},
            conflicts=conflicts_json(()),
            content_hash=content.hexdigest(),
            images=False,
            metadata=metadata_counts(self.found.metadata),
        )


def prepare_rows(
    request: Request, out: Path, *, overwrite: bool = False, watcher: Watcher = SILENT
) -> DatasetInfo:
    """Make or recognise the prepared dataset `out` of rows; returns the content of dataset.json.

    Raises as `resumable.make`, and DataError for paths that cannot be names in a dataset.
    """
    found = examine(request, watcher)
    settings = {**request.to_json(), "listing": found.listing}
    if done := recognised(out, settings, overwrite, watcher):
        return done
    found, plan = divide(request, found, watcher)
    made = make(_Rows(out, settings, plan, WHOLE, 1, watcher, request, found), overwrite=overwrite)
    assert made is not None  # as no shards share the work
    return made


def look(request: Request, watcher: Watcher = SILENT) -> tuple[Survey, Plan]:
    """Survey the table and plan its splits without writing anything. Raises as `prepare_rows`."""
    found, plan = divide(request, examine(request, watcher), watcher)
    for _ in _samples(request, found, plan):
        pass
    return found, plan


def _samples(request: Request, found: Survey, plan: Plan) -> Iterator[Sample]:
    """The rows of the manifest; raises DataError for a path that cannot be one."""
    sources: dict[str, str] = {}
    for sample in planned_samples(request, found, plan):
        path = _name_of(sample.source)
        if not path or leaves_folder(path) or path.startswith("."):
            raise DataError(
                f"{request.source}: the path {sample.source!r} is no name of an image; correct it"
            )
        if sources.setdefault(path, sample.source) != sample.source:
            raise DataError(
                f"{request.source}: {sources[path]!r} and {sample.source!r} have one name in the dataset; "
                "make the paths relative to one folder"
            )
        yield replace(sample, path=path, mask="", box="")


def _name_of(source: str) -> str:
    """A table's path as a path in a dataset: without what leads to the folder that all images lie in."""
    return "/".join(step for step in PurePosixPath(source).parts if step not in ("/", ".."))


def _leaks(samples: list[Sample]) -> dict[str, Any]:
    """What crosses splits or folds, by patient; nothing is known of the pixels."""
    folds = any(sample.fold is not None for sample in samples)
    codes = [
        (-1 if sample.fold is None else sample.fold)
        if folds
        else (SPLITS.index(sample.split) if sample.split else -1)
        for sample in samples
    ]
    blank = hash_table([0] * len(samples), [True] * len(samples))
    return audit_of(facts_of(samples, blank), np.array(codes, np.int32), folds=folds)
