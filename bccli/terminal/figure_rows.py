"""The figures of `evaluate` flat, for programs: a row per run."""

from collections.abc import Mapping, Sequence
from typing import Any

from bccli.terminal.detection_tables import flat_columns
from bccli.terminal.figure_cells import (
    HIERARCHICAL,
    Figures,
    Row,
    value_of,
)
from bccli.terminal.figure_remarks import remarks

NESTED = frozenset(
    {"classes", "confusion_matrix", "per_class", "ci", "ci_error", "ci_left_out", "calibration", "leakage",
     "reasons", "remarks", "threshold", "fusion", "folds", "paper", "tree", "watched_test", "triage",
     "conformal", "heterogeneity", "views", "froc"}
)  # fmt: skip
LEAKS = ("patients", "identical", "near_duplicates", "children")
WATCHED = ("mean_accuracy", "best_accuracy", "best_epoch")


def flat_rows(figures: Sequence[Figures], comparison: Mapping[str, Any] | None = None) -> list[Row]:
    """A row per run: all that fits into a cell, then the limits of the intervals.

    Of a comparison only that there can be none.
    """
    versus = comparison if comparison and not comparison["n"] else None
    ways = dict.fromkeys(way for row in figures for way in row["fusion"] or {})
    limited = dict.fromkeys(name for row in figures for name in row["ci"] or {} if "." not in name)
    more = ["ece", "brier", *(HIERARCHICAL if any(row.get("tree") for row in figures) else ())]
    boxed = any(row.get("froc") for row in figures)
    watched = WATCHED if any(row["watched_test"] for row in figures) else ()
    folded = dict.fromkeys(name for row in figures for name in (row["folds"] or {}).get("measures", ()))
    return [
        {
            **{key: value for key, value in row.items() if key not in NESTED},
            **{name: value_of(row, name) for name in more},
            "threshold": (row["threshold"] or {}).get("value"),
            **{f"{way}_accuracy": (row["fusion"] or {}).get(way, {}).get("accuracy") for way in ways},
            **{
                f"{name}_{end}": limits[index] if (limits := (row["ci"] or {}).get(name)) else None
                for name in limited
                for index, end in enumerate(("low", "high"))
            },
            **{f"leakage_{kind}": (row["leakage"] or {}).get(kind) for kind in LEAKS},
            **{
                f"{name}_fold_{kind}": ((row["folds"] or {}).get("measures", {}).get(name) or {}).get(kind)
                for name in folded
                for kind in ("mean", "sd")
            },
            **{f"watched_test_{key}": (row["watched_test"] or {}).get(key) for key in watched},
            **(flat_columns(row) if boxed else {}),
            "remarks": "; ".join(remarks([row], versus)),
        }
        for row in figures
    ]
