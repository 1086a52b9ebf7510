"""The predictions of patients, breasts and exams, a row for each, as a table that `evaluate` reads again."""

import csv
import io
from pathlib import Path

from bccli.core.evaluation.breasts.choices import BREAST, LEVELS
from bccli.core.files import write_text
from bccli.core.runs.prediction_table import PREFIX
from bccli.core.runs.predictions import Predictions, as_stored

UNITS_FILE = "predictions.csv"
MERGED = ("patient", *LEVELS)
"""Levels whose cases are in no other file."""


def write_units(units: Predictions, level: str, path: Path) -> None:
    """Write the cases of a level, each named by what it is in the column path."""
    sides = units.further.get("side", ()) if level == BREAST else ()
    scored = [] if units.probabilities is None else [PREFIX + name for name in units.classes]
    columns = ["path", "split", "patient", "label", "predicted", *scored, "level", *["side"] * bool(sides)]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for index, name in enumerate(units.paths):
        label, predicted = (units.classes[int(of[index])] for of in (units.labels, units.predicted))
        values = [] if units.probabilities is None else units.probabilities[index].tolist()
        split = units.splits[index] if units.splits else ""
        row = [name, split, units.patients[index], label, predicted, *map(as_stored, values), level]
        writer.writerow([*row, *([sides[index]] if sides else [])])
    write_text(path, stream.getvalue())
