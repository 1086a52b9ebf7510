"""`evaluate --report`: one HTML file with what reviewers and clinicians ask for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core.errors import DataError
from bccli.core.evaluation.checklists.catalogue import Filled
from bccli.core.evaluation.report.forest import MOST as MOST_IN_FOREST
from bccli.core.evaluation.report.galleries import EACH
from bccli.core.evaluation.report.gather import Report, RunPart
from bccli.core.files import replacing
from bccli.terminal import pages
from bccli.terminal.decision_remarks import decision_sentences
from bccli.terminal.detection_tables import brief_rows
from bccli.terminal.figure_cells import name_of, p_value, title_of
from bccli.terminal.figure_remarks import remarks
from bccli.terminal.figures_table import leading_rows, tables
from bccli.terminal.report import svg_paths
from bccli.terminal.report.words import alt_text, result_sentence
from bccli.terminal.writers import cell

KIND = "report"


def refuse_foreign(path: Path) -> None:
    """Raises DataError where a report cannot be written, or would replace what is none."""
    if not path.parent.is_dir():
        raise DataError(
            f"{path}: there is no folder {path.parent}; make it, or name another file with --report"
        )
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file with --report, such as {path / 'report.html'}")
    if path.is_file() and path.stat().st_size and not pages.is_page(path, KIND):
        raise DataError(f"{path}: is there already, and no report of bccli; name another file with --report")


def write_report(
    path: Path, report: Report, comparison: Mapping[str, Any] | None, checklist: Filled | None = None
) -> None:
    """Write a report, whole or not at all; `comparison` is that of two runs, a `checklist` that of one."""
    text = render(report, comparison, checklist)
    with replacing(path, through=True) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of a row names it."""

    caption: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Shown:
    """A run as a page shows it: its part of the report with a name, and what is said of it in words."""

    name: str
    part: RunPart
    sentence: str
    tables: tuple[Table, ...]
    confusion: Table | None
    paper: Table | None
    remarks: tuple[str, ...]
    decisions: tuple[str, ...]
    shortcuts: Table | None


def render(report: Report, comparison: Mapping[str, Any] | None, checklist: Filled | None = None) -> str:
    """The page of a report."""
    shown = tuple(map(_shown, report.parts))
    runs = [figures.to_json() for figures in report.runs]
    return pages.page(
        "report.html.jinja",
        kind=KIND,
        report=report,
        shown=shown,
        leaderboard=table_of("Runs, best first by accuracy on val", _leading(runs))
        if len(runs) > 1
        else None,
        comparison=_compared(runs, comparison),
        rows=report.forest[:MOST_IN_FOREST],
        p_value=p_value,
        measure=name_of,
        alt=alt_text,
        svg=svg_paths,
        each=EACH,
        checklist=checklist,
    )


def _leading(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return leading_rows([title_of(row) for row in runs], runs)


def _shown(part: RunPart) -> Shown:
    """A run with its tables: figures, classes and what else `evaluate` prints of a single one."""
    rows = [figures.to_json() for figures in part.figures]
    found = [table_of(*pair) for pair in zip(_captions(rows[0]), tables(rows[:1], None), strict=True)]
    papers = [table for table in found if table.caption == _PAPER]
    return Shown(
        title_of(rows[0]),
        part,
        result_sentence(rows[0]),
        (*(table for table in found if table.caption != _PAPER), *_boxes_of_strata(rows[1:])),
        _confusion(rows[0]),
        papers[0] if papers else None,
        tuple(remarks(rows, None)),
        tuple(decision_sentences(title_of(rows[0]), {**rows[0], "heterogeneity": None})),
        _shortcuts(part),
    )


def _boxes_of_strata(rows: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """What boxes come to in each stratum, where there are some."""
    if rows and rows[0]["froc"]:
        yield table_of("Lesions and boxes in strata", brief_rows([row["group"] for row in rows], rows))


def _shortcuts(part: RunPart) -> Table | None:
    """What traits that have nothing to do with tissue say of the labels."""
    if not part.shortcuts:
        return None
    caption = "How well a trait alone predicts the labels of patients that were left out"
    return table_of(caption, [found.to_row() for found in part.shortcuts])


_MOST_CONFUSED = 25


def _confusion(row: Mapping[str, Any]) -> Table | None:
    """The confusion matrix; None of so many classes that nobody reads it."""
    counts = row["confusion_matrix"] or []
    if len(counts) > _MOST_CONFUSED:
        return None
    lines = [[name, *map("{:,}".format, line)] for name, line in zip(row["classes"], counts, strict=True)]
    return Table("Confusions: a row for each true class", ["true class", *map(_said, row["classes"])], lines)


def _said(name: str) -> str:
    return f"said to be {name}"


_PAPER = "What the paper printed, and what was measured here"


def _captions(row: Mapping[str, Any]) -> list[str]:
    """The captions of the tables that `figures_table.tables` makes of a single run, in its order."""
    nodes = (row.get("tree") or {}).get("nodes")
    given = {
        "Figures of all classes together, with 95 % intervals": True,
        "Each class against the others": True,
        "From patches to images": row["fusion"],
        "The nodes of the tree, each on what truly belongs under it": nodes,
        "Lesions that are found, by how many false boxes a film has": row["froc"],
        "Boxes and overlaps": row["froc"],
        _PAPER: row["paper"],
    }
    return [caption for caption, there in given.items() if there]


def _compared(runs: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any] | None) -> Any:
    """The comparison of two runs: its table, where they have images in common, and its sentences."""
    if not comparison:
        return None
    *_, last = tables(runs, comparison)
    table = table_of("The first less the second", last) if comparison["n"] else None
    return {"table": table, "sentences": list(remarks([], comparison))}


def table_of(caption: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    """A table of rows of equal keys; columns without any value are left out."""
    rows = list(rows)
    keys = [key for key in (rows[0] if rows else ()) if any(row[key] not in (None, "") for row in rows)]
    return Table(
        caption, [key.replace("_", " ") for key in keys], [[cell(row[key]) for key in keys] for row in rows]
    )
