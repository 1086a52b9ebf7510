"""The prepared dataset behind a run's predictions, and the image that a row of them is about."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.evaluation.cautions.run_dataset import dataset_of, place_of
from bccli.core.evaluation.report.absent import Absent
from bccli.core.runs.aggregation import image_key
from bccli.core.runs.run_folder import Run

OF_TABLES = "A table of predictions does not say where its images lie."


@dataclass(frozen=True)
class RunData:
    """A dataset whose images can be found by what predictions call them."""

    dataset: Dataset

    def found(self, name: str) -> tuple[Sample, int] | None:
        """An image by its path, else the first patch of an image, else the first image of a patient; and of
        how many. None where it is not there."""
        for table in self._tables:
            if rows := table.get(name):
                return self.dataset.samples[rows[0]], len(rows)
        return None

    @cached_property
    def _tables(self) -> tuple[dict[str, list[int]], ...]:
        samples = self.dataset.samples
        return (
            _indexes([sample.path for sample in samples]),
            _indexes([_image_of(sample) for sample in samples]),
            _indexes([sample.patient for sample in samples]),
        )


def _image_of(sample: Sample) -> str:
    return image_key(sample.source, str(sample.variant), sample.path)


def _indexes(names: Sequence[str]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if name:
            found[name].append(index)
    return found


@dataclass(frozen=True)
class Library:
    """The datasets of several runs, each read once; `given` is the one that all are evaluated on, if any."""

    given: Dataset | None = None
    _known: dict[tuple[Path, str], RunData | Absent] = field(default_factory=dict)

    def of(self, run: Run | None) -> RunData | Absent:
        """The dataset of a run, where it can be reached and is still what the run was trained on."""
        if run is None:
            return Absent(OF_TABLES)
        if self.given:
            return self._once((self.given.root, ""), self.given)
        if (key := place_of(run)) is None:
            return _loaded(run)
        if key not in self._known:
            self._known[key] = _loaded(run)
        return self._known[key]

    def _once(self, key: tuple[Path, str], dataset: Dataset) -> RunData | Absent:
        return self._known.setdefault(key, RunData(dataset))


def _loaded(run: Run) -> RunData | Absent:
    try:
        return RunData(dataset_of(run))
    except DataError as error:
        return Absent(str(error))
