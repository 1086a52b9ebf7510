"""One reader per dataset: a generator of Samples in an order that depends on the files alone."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bccli.core.catalog import DATASETS, Task
from bccli.core.data.manifest import Sample
from bccli.core.data.patients import Spellings


class Skip(Protocol):
    """Takes a remark about a file, by the file's path relative to the source.

    `kind` is a row of `bccli.core.datasets.verification.REMARKS`, or "other" for a file that is no image
    by its ending; without one, the dataset's naming does not explain the file, and it is passed over.
    """

    def __call__(self, name: str, kind: str = "unknown") -> None: ...


@dataclass(frozen=True)
class Reading:
    """The settings of a reader: the images, the task, and a way to find the patients.

    Where it `needs_masks`, an image without a mask cannot be used. `metadata` is a table that the images are
    joined with, by the column that `metadata_key` says (see `layout.metadata_table`).
    """

    magnifications: tuple[str, ...] = ()
    patient_regex: str | None = None
    patient_list: Path | None = None
    task: str = ""
    count: int = 240
    patients: int = 24
    seed: int = 0
    protocol: str = "honest"
    needs_masks: bool = False
    metadata: Path | None = None
    metadata_key: str = ""


def read_samples(dataset: str, source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """The raw dataset's samples, `source` filled and `path` empty, with the dataset's own classes.

    A patient has the first of the spellings of the id that were met (see `bccli.core.data.patients`). Raises
    DataError where the folder does not hold the dataset.
    """
    samples: Iterator[Sample] = _function(DATASETS[dataset].reader)(source, reading, skip)
    task = DATASETS[dataset].find_task(reading.task)
    if task and task.published:
        samples = _published(samples, task, reading, skip)
    spellings = Spellings(lambda other, first: skip(f"{other} as {first}", "spelling"))
    samples = (_of_patient(sample, spellings.first(sample.patient)) for sample in samples)
    if reading.metadata is None:
        return samples
    from bccli.core.datasets.joining import joined, table_of

    table = table_of(reading.metadata, reading.metadata_key, source)
    return joined(samples, table, dataset, source, skip)


def _of_patient(sample: Sample, patient: str) -> Sample:
    return sample if patient == sample.patient else replace(sample, patient=patient)


def _function(name: str) -> Any:
    """The function that "module:function" names."""
    module, function = name.split(":")
    return getattr(importlib.import_module(f"bccli.core.datasets.{module}"), function)


def _published(samples: Iterator[Sample], task: Task, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """The images of a split that others publish figures on, which is the dataset's own under paper."""
    published_split = _function(task.published)
    for sample in samples:
        split = published_split(sample)
        if split:
            yield replace(sample, split=split if reading.protocol == "paper" else "")
        else:
            skip(sample.source, "other_task")


def pose(sample: Sample, task: Task | None) -> Sample:
    """The sample with its class in a task; a class that was joined with others stays as the subtype."""
    if task is None:
        return sample
    own = str(getattr(sample, task.field))
    label = dict(task.joins).get(own, own)
    return sample if label == sample.label else replace(sample, label=label, subtype=sample.subtype or own)
