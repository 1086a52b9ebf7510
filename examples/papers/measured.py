"""What runs and prepared datasets hold of a cell: a value, and its interval where there is one."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cells import Source, tomllib

from bccli.core.catalog import SETS

Value = float | int | str


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval and the images it rests on; or None, and why."""

    value: Value | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str = ""


def measure(source: Source, root: Path) -> Measured:
    """What makes a cell in the folder `root` of a protocol."""
    if source.not_possible:
        return Measured(None, why=source.not_possible)
    kind, _, what = source.of.rpartition(":") if ":" in source.of else ("", "", source.of)
    try:
        return KINDS[kind](root / source.folder, what)
    except FileNotFoundError as error:
        return Measured(None, why=f"{NOT_YET}: {Path(str(error.filename)).relative_to(root.parent)}")


NOT_YET = "not made yet"
"""How the reason of a cell begins whose run is not there."""


def _of_split(split: str) -> Callable[[Path, str], Measured]:
    return lambda run, what: _figure(_figures(run, split), what)


def _figures(run: Path, split: str) -> dict[str, Any]:
    """The stored figures of a split; `RUN@NAME` are those that `evaluate --format json` wrote."""
    path = run.with_name(f"{run.name}.json") if "@" in run.name else run / "metrics.json"
    found = [row for row in read_json(path)["runs"] if row["split"] == split and not row["group"]]
    return dict(found[0]) if found else {}


def _figure(figures: Mapping[str, Any], what: str) -> Measured:
    """A measure by its name, that of a class (`sensitivity.benign`) or of a tree's node (`node.root`)."""
    name, _, label = what.partition(".")
    value, interval = figures.get(what), (figures.get("ci") or {}).get(what)
    if name == "node":
        node = ((figures.get("tree") or {}).get("nodes") or {}).get(label) or {}
        value, interval = node.get("accuracy"), (node.get("ci") or {}).get("accuracy")
    elif label:
        value = ((figures.get("per_class") or {}).get(label) or {}).get(name)
    low, high = interval or (None, None)
    return Measured(value, low, high, figures.get("n"), "" if value is not None else _why(figures, what))


def _why(figures: Mapping[str, Any], what: str) -> str:
    reasons = figures.get("reasons") or {}
    return str(reasons.get(what) or f"{what} is not defined here")


def _of_group(run: Path, what: str) -> Measured:
    """`MEASURE GROUP` of what `evaluate --by COLUMN` wrote to `RUN@by.json`; a group is `COLUMN VALUE`."""
    name, _, group = what.partition(" ")
    path = run.with_name(f"{run.name}@by.json")
    rows = {row["group"]: row for row in read_json(path)["runs"]}
    if group not in rows:
        return Measured(None, why=f"{NOT_YET}: test has no {group}")
    return _figure(rows[group], name)


def _of_confusion(run: Path, what: str) -> Measured:
    """A count of the confusion matrix of two classes: tp, tn, fp or fn."""
    figures = _figures(run, "test")
    matrix = figures["confusion_matrix"]
    true, predicted = {"tp": (1, 1), "tn": (0, 0), "fp": (0, 1), "fn": (1, 0)}[what]
    return Measured(matrix[true][predicted], n=figures["n"])


def _of_history(run: Path, what: str) -> Measured:
    """`mean|max|min COLUMN FROM` over the epochs behind that share of them, by history.csv."""
    how, column, share = what.split()
    rows = read_table(run / "history.csv")
    late = [float(row[column]) for row in rows[int(float(share) * len(rows)) :] if row.get(column)]
    if not late:
        return Measured(None, why=f"{NOT_YET}: history.csv has no {column}")
    return Measured({"mean": sum(late) / len(late), "max": max(late), "min": min(late)}[how], n=len(late))


def _of_info(run: Path, what: str) -> Measured:
    """A fact of run.json by its dotted name, such as settings.batch_size."""
    return _fact(read_json(run / "run.json"), what)


def _of_dataset(data: Path, what: str) -> Measured:
    """A fact of dataset.json by its dotted name."""
    return _fact(read_json(data / "dataset.json"), what)


def _fact(content: Any, what: str) -> Measured:
    for name in what.split("."):
        content = (content or {}).get(name)
    if isinstance(content, list):
        content = " × ".join(map(str, content)) or "none"
    return Measured(str(content) if isinstance(content, bool | type(None)) else content)


def _of_images(data: Path, what: str) -> Measured:
    """How many originals fit `COLUMN=A|B,COLUMN=C` (all for `all`), or with a `/` the ratio of two counts."""
    rows = [row for row in read_table(data / "manifest.csv") if row["variant"] in ("", "0")]
    counts = [len({_image_of(row) for row in rows if _fits(row, text)}) for text in what.split("/")]
    if len(counts) == 1:
        return Measured(counts[0])
    return Measured(counts[0] / counts[1]) if counts[1] else Measured(None, why="there is none to divide by")


def _of_copies(data: Path, what: str) -> Measured:
    """The same with augmented copies, row by row."""
    return Measured(sum(_fits(row, what) for row in read_table(data / "manifest.csv")))


def _image_of(row: Mapping[str, str]) -> tuple[str, str]:
    """The raw image of a row; lesions of one film are images of their own."""
    return row["source"], row["mask"] if not row["row"] else ""


def _fits(row: Mapping[str, str], text: str) -> bool:
    pairs = (part.partition("=") for part in text.split(",") if part != "all")
    return all(row[column] in values.split("|") for column, _, values in pairs)


def _of_grid(data: Path, what: str) -> Measured:
    """Width and height that most images' patches cover."""
    ends: dict[str, list[tuple[int, int]]] = {}
    for row in read_table(data / "manifest.csv"):
        corner = int(row["col"]) + int(row["width"]), int(row["row"]) + int(row["height"])
        ends.setdefault(row["source"], []).append(corner)
    covered = Counter((max(x for x, _ in where), max(y for _, y in where)) for where in ends.values())
    if not covered:
        return Measured(None, why=f"{NOT_YET}: there is no image")
    (width, height), _ = covered.most_common(1)[0]
    return Measured(f"{width} × {height} pixels")


def _without(column: str) -> str:
    return f"the manifest has no column {column}"


def _of_row(data: Path, what: str) -> Measured:
    """`NAME COLUMN` of the manifest's row whose raw file has this name, whatever its ending."""
    name, _, column = what.partition(" ")
    for row in read_table(data / "manifest.csv"):
        if Path(row["source"]).stem == Path(name).stem:
            found = row.get(column)
            return Measured(found or "-") if found is not None else Measured(None, why=_without(column))
    return Measured(None, why="thinned out of train (1 of 4 normals stays)")


def _of_policy(run: Path, what: str) -> Measured:
    """`POLICY AUGMENTER KEY` of an augmentation that bccli brings along."""
    policy, augmenter, key = what.split()
    text = resources.files("bccli.policies").joinpath(f"{policy}.toml").read_text(encoding="utf-8")
    operation = next(row for row in tomllib.loads(text)["operations"] if row["augmenter"] == augmenter)
    value = operation.get(key, "none")
    return Measured(" to ".join(map(str, value)) if isinstance(value, list) else value)


def _of_set(run: Path, what: str) -> Measured:
    """`SET BEGINNING…`: which networks of a set of bccli's begin so."""
    name, *beginnings = what.split()
    found = [backbone for backbone in SETS[name] if backbone.startswith(tuple(beginnings))]
    return Measured(", ".join(found))


def _of_file(run: Path, what: str) -> Measured:
    """Whether a run has such a file: its name."""
    path = run / what
    path.stat()
    return Measured(path.name)


def _of_fusion(run: Path, what: str) -> Measured:
    """`WAY MEASURE`: what patches, votes or means of a run on patches reach."""
    way, name = what.split()
    found = (_figures(run, "test").get("fusion") or {}).get(way) or {}
    return Measured(found.get(name), n=found.get("n"), why="" if found else "the run has no patches")


KINDS: dict[str, Callable[[Path, str], Measured]] = {
    "": _of_split("test"),
    "val": _of_split("val"),
    "by": _of_group,
    "confusion": _of_confusion,
    "history": _of_history,
    "info": _of_info,
    "dataset": _of_dataset,
    "count": _of_images,
    "copies": _of_copies,
    "row": _of_row,
    "grid": _of_grid,
    "policy": _of_policy,
    "set": _of_set,
    "file": _of_file,
    "fusion": _of_fusion,
}
"""What stands before the colon of a cell's `of`, and what reads it."""


@cache
def read_json(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


@cache
def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
