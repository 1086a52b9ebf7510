"""suspects.csv: the images of a run of all folds, by how much its out-of-fold answers speak against labels.

A list to look at, nothing more: no image is left out, and no label of test is changed by it.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.files import write_text
from bccli.core.metrics.decisions.suspects import find_suspects
from bccli.core.runs.run_info import FOLDS

SUSPECTS_FILE = "suspects.csv"
COLUMNS = (
    "rank", "path", "source", "patient", "label", "suggested", "p_label", "p_suggested", "margin", "likely",
)  # fmt: skip


def has_suspects(entry: Evaluation) -> bool:
    """Whether each answer comes from a network that had not seen the image: those of all folds, pooled."""
    run = entry.subject.run
    pooled = run is not None and run.info.kind == FOLDS and entry.subject.split == "test"
    return pooled and entry.units.probabilities is not None


def suspects(entry: Evaluation) -> Iterator[dict[str, Any]]:
    """Rows of COLUMNS, the most doubtful first; `likely` are those of which only another class is likely."""
    units = entry.units
    probabilities = np.asarray(units.probabilities, np.float64)
    found = find_suspects(units.labels, probabilities)
    for rank, row in enumerate(found.order.tolist(), 1):
        label, suggested = int(units.labels[row]), int(found.suggested[row])
        yield {
            "rank": rank,
            "path": units.paths[row],
            "source": units.sources[row] if units.sources else "",
            "patient": units.patients[row],
            "label": units.classes[label],
            "suggested": units.classes[suggested],
            "p_label": float(probabilities[row, label]),
            "p_suggested": float(probabilities[row, suggested]),
            "margin": float(found.margin[row]),
            "likely": bool(found.likely[row]),
        }


def write_suspects(entry: Evaluation, folder: Path) -> int:
    """Write suspects.csv; returns how many images are likely of another class."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    likely = 0
    for row in suspects(entry):
        writer.writerow(row)
        likely += row["likely"]
    write_text(folder / SUSPECTS_FILE, stream.getvalue())
    return likely
