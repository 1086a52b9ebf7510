"""The columns that `evaluate --columns` chooses among, by the names of the JSON and of the CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from bccli.core.catalog import nearest
from bccli.core.errors import UsageError
from bccli.terminal.detection_tables import FLAT, FLAT_LIMITS, limits_of_boxes
from bccli.terminal.figure_cells import HIERARCHICAL, Figures, Row, limits_of, name_of
from bccli.terminal.figure_rows import LEAKS, NESTED, WATCHED, flat_rows
from bccli.terminal.writers import cell

SETS = {
    # Falconí et al. 2020, section 5: tables 7 and 9 (AUC, F1, accuracy), 8 and 10 (train, test, β by test).
    "cbis-ddsm": (
        *("name", "auc_paper", "f1", "train_accuracy", "test_accuracy", "beta", "beta_paper"),
    ),
}  # fmt: skip
"""Names that stand for several columns: those of a paper's tables."""

_WAYS = ("patch", "vote", "mean", "largest")
_WITHOUT_LIMITS = frozenset({"train_accuracy", "val_accuracy", "beta", "beta_paper", "temperature"})


def known_columns() -> tuple[str, ...]:
    """Every name, in the order of the JSON and then of the CSV."""
    from bccli.core.metrics import figures
    from bccli.core.metrics.folds import SPREAD

    entries = [entry for entry in fields(figures.Figures) if entry.name not in NESTED]
    measures = [entry.name for entry in entries if str(entry.type).startswith("float")]
    limited = [name for name in measures if name not in _WITHOUT_LIMITS] + ["ece", "brier"]
    return (
        *(entry.name for entry in entries),
        *("test_accuracy", "ece", "brier", "threshold", *HIERARCHICAL),
        *(f"{way}_accuracy" for way in _WAYS),
        *(f"{name}_{end}" for name in limited for end in ("low", "high")),
        *(f"leakage_{kind}" for kind in LEAKS),
        *(f"{name}_fold_{kind}" for name in SPREAD for kind in ("mean", "sd")),
        *(f"watched_test_{kind}" for kind in WATCHED),
        *FLAT,
        *FLAT_LIMITS,
        "remarks",
    )


def check_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The columns that names and sets stand for, each once. Raises UsageError that names the nearest."""
    known = known_columns()
    found = [one for name in names for one in SETS.get(name, (name,))]
    for name in found:
        if name not in known:
            hint = nearest(name, [*known, *SETS])
            raise UsageError(
                f"--columns: there is no column {name!r}{hint}; the page on evaluate says what there is"
            )
    return tuple(dict.fromkeys(found))


def chosen_rows(
    columns: Sequence[str], figures: Sequence[Figures], comparison: Mapping[str, Any] | None
) -> list[Row]:
    """A row per run with these columns, empty where they do not apply; for programs."""
    return [
        {name: _value(row, values, name) for name in columns}
        for row, values in zip(figures, flat_rows(figures, comparison), strict=True)
    ]


def chosen_table(
    columns: Sequence[str], figures: Sequence[Figures], comparison: Mapping[str, Any] | None
) -> list[Row]:
    """The same for people and papers: measures with their intervals, and a dash where no run has any."""
    rows = chosen_rows(columns, figures, comparison)
    empty = {name for name in columns if all(row[name] in (None, "") for row in rows)}
    return [
        {name_of(name): "–" if name in empty else cell(values[name]) + _limits(row, name) for name in columns}
        for row, values in zip(figures, rows, strict=True)
    ]


def _limits(row: Figures, name: str) -> str:
    return limits_of_boxes(row, name) or limits_of(row, _measure(row, name))


def _value(row: Figures, values: Row, name: str) -> Any:
    return values.get(_measure(row, name))


def _measure(row: Figures, name: str) -> str:
    """The measure of a column: test accuracy is the accuracy on what is measured, unless that is val."""
    return "accuracy" if name == "test_accuracy" and row["split"] != "val" else name
