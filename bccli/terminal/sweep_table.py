"""The end of a sweep as a terminal shows it: evaluate's table of several runs, and what stands beside it.

`leaderboard.csv`, which a pipe gets, has all columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bccli.terminal import figure_remarks, figures_table
from bccli.terminal.writers import cell

Row = Mapping[str, Any]

_SPREAD = {
    "val_accuracy": "val",
    "test_accuracy": "test accuracy",
    "test_roc_auc": "test AUC",
    "beta": "β",
}


def tables(rows: Sequence[Row], figures: Sequence[Row]) -> Iterator[list[dict[str, Any]]]:
    """A row per complete member, best first, and one per group of trials.

    `rows` are those of the leaderboard, `figures` what each complete member reached on test, or on val
    where there is no test, in the same order.
    """
    complete = [row for row in rows if row["status"] == "complete"]
    names = [row["name"] + " *" * bool(row["chosen"]) for row in complete]
    if figures:
        yield figures_table.leading_rows(names, figures)
    if trials := list(_trials(complete)):
        yield trials


def _trials(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Mean and standard deviation over the seeds and folds of each group, where one has several."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if (row.get("trials") or 1) > 1:
            key = (row["trials"], *(row[f"{name}_mean"] for name in _SPREAD))
            groups.setdefault(key, []).append(row)
    for members in groups.values():
        first = members[0]
        yield {
            "mean (± sd) over": ", ".join(row["name"] for row in members),
            "trials": first["trials"],
            **{shown: _spread(first, name) for name, shown in _SPREAD.items()},
        }


def _spread(row: Row, name: str) -> str | None:
    mean, deviation = row[f"{name}_mean"], row[f"{name}_sd"]
    if mean is None:
        return None
    return cell(mean, digits=3) + (f" (±{deviation:.3f})" if deviation is not None else "")


def remarks(rows: Sequence[Row], figures: Sequence[Row]) -> Iterator[str]:
    """What has to be known about the tables, a line each."""
    if figures:
        splits = " and ".join(dict.fromkeys(row["split"] for row in figures))
        yield f"figures of {splits}, in the order of val; all columns are in leaderboard.csv"
    if any(row["chosen"] for row in rows):
        yield "* chosen by its figures on val"
    elif figures:
        yield "none is chosen, as all overfit"
    for row in rows:
        if row["status"] == "failed":
            yield f"{row['name']} failed: {row['reason']}"
    yield from figure_remarks.remarks(figures, None)
