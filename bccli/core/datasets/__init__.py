"""One reader per dataset: a generator of Samples in an order that depends on the files alone."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bccli.core.catalog import DATASETS
from bccli.core.records import Sample

Skip = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """What a reader may be told: which images, and how to find the patient in a name."""

    magnifications: tuple[str, ...] = ()
    patient_regex: str | None = None
    count: int = 240
    patients: int = 24
    seed: int = 0


def read_samples(dataset: str, source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the raw dataset's samples, `source` filled and `path` empty.

    `skip` is told the relative path of each image file that the dataset's naming does not explain.
    Raises DataError where the folder does not hold the dataset.
    """
    module, function = DATASETS[dataset].reader.split(":")
    reader = getattr(importlib.import_module(f"bccli.core.datasets.{module}"), function)
    return reader(source, reading, skip)
