"""What the items of a checklist are answered from: facts that a run and its dataset have stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset, DatasetInfo
from bccli.core.errors import BccliError
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.card import SplitRow, Step, card
from bccli.core.evaluation.report.run_data import Library
from bccli.core.metrics.figures import Figures, figures_from_json
from bccli.core.reading.texts import read_json
from bccli.core.runs.predictions import Predictions
from bccli.core.runs.run_folder import METRICS_FILE, RECIPE_FILE, Run
from bccli.core.runs.run_info import RunInfo

MOST_MISTAKES = 3
"""Mistakes that are named, the surest ones."""
_NOW = "evaluate --format json"


@dataclass(frozen=True)
class Mistake:
    """A case that was classified wrong, and the probability of the wrong class, if there is one."""

    name: str
    label: str
    predicted: str
    probability: float | None


@dataclass(frozen=True)
class Facts:
    """What is known of a run, or of a table of predictions, whose `run` is None.

    `figures` are what was measured now, `groups` those of strata, `place` where they stand, and `stored` what
    metrics.json has of val and test. `data` is what the run was trained on, and `external` another dataset
    that it was measured on. `splits` count images, `flow` what `prepare` left out, and `files` are the names
    of the run's files.
    """

    figures: Figures
    groups: tuple[Figures, ...]
    place: str
    stored: tuple[Figures, ...]
    run: RunInfo | None
    data: DatasetInfo | Absent
    external: DatasetInfo | None
    splits: tuple[SplitRow, ...]
    flow: tuple[Step, ...] | Absent
    mistakes: tuple[Mistake, ...]
    files: frozenset[str]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the run; none of a table."""
        return self.run.settings if self.run else {}

    @property
    def unknown(self) -> int:
        """How many images are of unknown patients."""
        return sum(row.unknown for row in self.splits)


def facts_of(entry: Evaluation, external: Dataset | None = None) -> Facts:
    """The facts behind an evaluation, on an `external` dataset if it is not the run's own."""
    run = entry.subject.run
    data = Library().of(run)
    told = card(entry, data, ())
    stored = _stored(run) if run else ()
    return Facts(
        entry.whole,
        entry.groups,
        METRICS_FILE if any(_same(entry.whole, one) for one in stored) else _NOW,
        stored,
        run.info if run else None,
        data if isinstance(data, Absent) else data.dataset.info,
        external.info if external else None,
        told.splits,
        told.flow if isinstance(told.flow, Absent) else told.flow[:-1],
        tuple(_mistakes(entry.units)),
        _files(run) if run else frozenset(),
    )


def _stored(run: Run) -> tuple[Figures, ...]:
    """The figures in metrics.json; none where the file is missing or has changed."""
    try:
        path = run.file(METRICS_FILE)
        return tuple(figures_from_json(read_json(path), str(path)))
    except (BccliError, OSError):
        return ()


def _same(one: Figures, other: Figures) -> bool:
    """Whether stored figures are those that were measured now, intervals and all."""
    found, known = one.to_json(), other.to_json()
    keys = "split", "level", "n", "accuracy", "roc_auc", "confusion_matrix", "ci", "threshold", "temperature"
    return all(found[key] == known[key] for key in keys)


def _files(run: Run) -> frozenset[str]:
    """The files that run.json vouches for and that are there."""
    named = {*run.info.files, RECIPE_FILE}
    return frozenset(name for name in named if (run.root / name).is_file())


def _mistakes(units: Predictions) -> Sequence[Mistake]:
    """The surest mistakes, equal ones by name."""
    wrong = np.flatnonzero(units.predicted != units.labels)
    found = [_mistake(units, index) for index in wrong.tolist()]
    return sorted(found, key=lambda one: (-(one.probability or 0), one.name))[:MOST_MISTAKES]


def _mistake(units: Predictions, index: int) -> Mistake:
    label, predicted = int(units.labels[index]), int(units.predicted[index])
    share = None if units.probabilities is None else float(units.probabilities[index, predicted])
    return Mistake(units.paths[index], units.classes[label], units.classes[predicted], share)
