"""`bccli evaluate` with 1,000 bootstrap rounds: against a loop over scikit-learn, and with a million rows."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.comparing import PEAK, Row, Side, Target, compare, ratio_at_most

ROWS, MANY, OF_PATIENT = 20_000, 1_000_000, 20
DRAWS = 1000
MEMORY = Target("left < 2 GB", lambda left, right: left < 2e9)


def intervals(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield two rows: the time of whole processes, and the memory of a million predictions."""
    note(
        f"intervals: {DRAWS:,} rounds over patients, who have {OF_PATIENT} images each; both sides read a CSV"
    )
    table, large = (write_table(folder / f"{rows}.csv", rows) for rows in (ROWS, MANY))
    loop = [sys.executable, "-m", "tests.benchmarks.rivals.sklearn_bootstrap", str(table), str(DRAWS)]
    yield compare(
        f"intervals of {ROWS:,} predictions",
        _evaluate("bccli evaluate", table),
        Side("a loop over scikit-learn", loop),
        rounds=rounds or 3,
        target=ratio_at_most(0.1),
    ).row
    yield compare(
        "memory of intervals",
        _evaluate(f"{MANY:,} predictions", large),
        _evaluate(f"{ROWS:,} predictions", table),
        rounds=1,
        quantity=PEAK,
        target=MEMORY,
    ).row


def _evaluate(name: str, table: Path) -> Side:
    command = [sys.executable, "-m", "bccli", "evaluate", str(table), "--bootstrap", str(DRAWS)]
    return Side(name, [*command, "--format", "json"])


def write_table(path: Path, rows: int) -> Path:
    """A made-up tool's predictions, images of a patient alike."""
    rng = np.random.default_rng(0)
    patients = np.arange(rows) // OF_PATIENT
    labels = patients % 2
    scores = 1.5 * (labels - 0.5) + rng.normal(size=patients[-1] + 1)[patients] + rng.normal(size=rows)
    positive = 1 / (1 + np.exp(-scores))
    with path.open("w", encoding="utf-8") as stream:
        stream.write("path,label,patient,p_benign,p_malignant\n")
        for place, (patient, label, p) in enumerate(zip(patients, labels, positive, strict=True)):
            name = ("benign", "malignant")[label]
            stream.write(f"images/{place // 1000:03}/{place:06}.png,{name},p{patient},{1 - p:.9g},{p:.9g}\n")
    return path
