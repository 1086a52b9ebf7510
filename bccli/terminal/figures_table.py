"""The figures of `evaluate` as tables, for a terminal and for a paper."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bccli.core.metrics.limits import digits_of
from bccli.core.runs.aggregation import words_of_level
from bccli.terminal.detection_tables import box_tables
from bccli.terminal.figure_cells import (
    SHOWN,
    Figures,
    Row,
    limits_in_words,
    limits_of,
    name_of,
    p_value,
    title_of,
    value_of,
    with_limits,
)
from bccli.terminal.writers import cell

# What a row of the terminal's table shows where there are too many runs for a column each.
_ABREAST = 2
_LEADING = {
    "n": "n",
    "accuracy": "accuracy",
    "majority_accuracy": "majority",
    "roc_auc": "AUC",
    "val_accuracy": "val",
    "beta": "β",
}
# What a paper's table shows, a row per run.
_PUBLISHED = (
    "protocol", "split", "level", "n", "patients", "positive", "accuracy", "majority_accuracy",
    "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "brier",
)  # fmt: skip
_WIDE = 3
"""So many classes with intervals fit into 80 columns and a little more."""


def tables(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    """The tables for a terminal: a column per run, then what there is of classes, papers and a comparison.

    More than two are a row each, with what one chooses by.
    """
    columns = _unique(title_of(row) for row in figures)
    if len(figures) > _ABREAST:
        yield leading_rows(columns, figures)
    else:
        yield _measure_rows(columns, figures)
    if len(figures) == 1:
        yield _class_rows(figures[0])
    yield from _common_tables(figures, comparison)


def leading_rows(names: Sequence[str], figures: Sequence[Figures]) -> list[Row]:
    """A row per run with what one chooses by; what is counted, where that is not images, heads its column."""
    levels = {row["level"] for row in figures}
    counted = "n" if len(levels) > 1 or levels <= {"image", None} else words_of_level(levels.pop())
    shown_as = {**_LEADING, "n": counted}
    return [
        {"run": name, **{shown: _leading(row, key) for key, shown in shown_as.items()}}
        for name, row in zip(names, figures, strict=True)
    ]


def _leading(row: Figures, measure: str) -> str | None:
    """A figure with three decimals and its limits, which break into a line of their own."""
    value = row[measure]
    return None if value is None else cell(value, digits=3) + limits_of(row, measure)


def _measure_rows(columns: Sequence[str], figures: Sequence[Figures]) -> list[Row]:
    return [
        {
            "measure": name_of(measure),
            **{
                key: shown
                for name, row in zip(columns, figures, strict=True)
                for key, shown in _columns_of(name, row, measure)
            },
        }
        for measure in SHOWN
        if any(value_of(row, measure) is not None for row in figures)
    ]


def _columns_of(name: str, row: Figures, measure: str) -> Iterator[tuple[str, str | None]]:
    """A figure of a run, and behind it that of its folds where there are some."""
    yield name, with_limits(row, measure)
    if row["folds"]:
        yield f"{name}, {_folds_in_words(row)}", _spread(row, measure)


def _folds_in_words(row: Figures) -> str:
    return f"mean ± sd of {len(row['folds']['names'])} folds"


def _spread(row: Figures, measure: str) -> str | None:
    """Mean and standard deviation over the folds."""
    found = row["folds"]["measures"].get(measure)
    return f"{found['mean']:.4f} ± {found['sd']:.4f}" if found else None


def published(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    """The tables for a paper: a row per run and group, then the same as for a terminal."""
    yield [
        {
            "run": " ".join(filter(None, (row["name"], row["group"]))),
            **{name_of(measure): with_limits(row, measure) for measure in _PUBLISHED},
        }
        for row in figures
    ]
    if rows := _fold_rows(figures):
        yield rows
    yield from _common_tables(figures, comparison)


def _fold_rows(figures: Sequence[Figures]) -> list[Row]:
    """Mean ± standard deviation over the folds, a row per run that has some."""
    return [
        {
            "run": title_of(row),
            "over": _folds_in_words(row),
            **{name_of(measure): _spread(row, measure) for measure in _PUBLISHED if measure in _OF_FOLDS},
        }
        for row in figures
        if row["folds"]
    ]


_OF_FOLDS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa")


def _common_tables(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    if rows := [entry for row in figures for entry in _way_rows(row)]:
        yield rows
    if rows := [entry for row in figures for entry in _node_rows(row)]:
        yield rows
    yield from box_tables(figures, briefly=len(figures) > _ABREAST)
    if rows := [entry for row in figures for entry in _paper_rows(row)]:
        yield rows
    if comparison and comparison["n"]:
        yield _comparison_rows(comparison)


def _class_rows(row: Figures) -> list[Row]:
    """Each class against the rest, a column per class; intervals where few classes leave room for them."""
    limits = (row["ci"] or {}) if len(row["classes"]) <= _WIDE else {}
    measures: Sequence[str] = list(next(iter((row["per_class"] or {}).values()), ()))
    return [
        {
            "class": name_of(key),
            **{
                name: cell(values[key]) + (limits_of(row, f"{key}.{name}") if limits else "")
                for name, values in row["per_class"].items()
            },
        }
        for key in measures
    ]


_WAYS = {
    "patch": "patches",
    "vote": "majority vote of patches",
    "mean": "mean probability of patches",
    "largest": "largest probability of a patch",
}


def _way_rows(row: Figures) -> Iterator[Row]:
    """Patches and images side by side: what the patches come to, and each way from them to images."""
    if not row["fusion"]:
        return
    own = {"images": row} if row["kind"] == "fusion" else {}
    ways = {**{_WAYS[name]: values for name, values in row["fusion"].items()}, **own}
    for name, values in ways.items():
        measures = {name_of(key): values.get(key) for key in ("n", "accuracy", "balanced_accuracy", "f1")}
        yield {"run": title_of(row), "classified by": name, **measures}


def _node_rows(row: Figures) -> Iterator[Row]:
    """Each node of a tree on what truly belongs under it; of a flat run, by sums of its probabilities."""
    tree = row.get("tree") or {"nodes": {}}
    for name, node in tree["nodes"].items():
        yield {
            "run": title_of(row),
            "node": name if tree["decide"] else f"{name} (summed)",
            "children": ", ".join(node["classes"]),
            "n": node["n"],
            "accuracy": cell(node["accuracy"]) + limits_of(node, "accuracy"),
            "majority": cell(node["majority_accuracy"]),
            "balanced": cell(node["balanced_accuracy"]),
        }


def _paper_rows(row: Figures) -> Iterator[Row]:
    """The recipe's figures in its paper beside the measured ones, which have a protocol and an interval."""
    for entry in row["paper"] or ():
        measured = cell(entry["measured"]) + limits_of(row, entry["measure"])
        yield {
            "run": row["name"],
            "measure": entry["measure"].replace("_", " "),
            "paper": cell(entry["paper"]),
            "paper n": cell(entry["n"]),
            "where": entry["where"],
            "measured": measured,
            "protocol": row["protocol"],
            "remark": entry["remark"],
        }


def _comparison_rows(comparison: Mapping[str, Any]) -> list[Row]:
    """What the first has more than the second, measure by measure."""
    first, second = comparison["first"], comparison["second"]
    return [
        {
            "measure": name_of(name),
            f"{first} − {second}": f"{entry['difference']:+.4f}"
            f"{limits_in_words(entry['ci'], digits_of(entry['ci_error']), signed=True)}".replace("-", "−"),
            "p": None if entry["p"] is None else p_value(entry["p"]),
        }
        for name, entry in comparison["differences"].items()
    ]


def _unique(names: Iterator[str]) -> list[str]:
    """Names of columns; the second of the same name gets a number."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return result
