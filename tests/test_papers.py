"""The scripts of the five papers: each cell of their tables is made, or named with the reason why not."""

import csv
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import click
import pytest

from bccli.cli import cli
from bccli.core.data.manifest import COLUMNS
from bccli.core.evaluation.published import PAPERS, WATCHED, PaperFigure

EXAMPLES = Path("examples").resolve()
PAGES = sorted((EXAMPLES / "papers").glob("*.toml"))
NAMES = [page.stem for page in PAGES]


@pytest.fixture(scope="module")
def papers() -> Mapping[str, ModuleType]:
    """The modules beside the scripts."""
    sys.path.insert(0, str(EXAMPLES / "papers"))
    try:
        import cells
        import compare
        import measured
    finally:
        sys.path.pop(0)
    return {"cells": cells, "compare": compare, "measured": measured}


COUNTS = {
    "bcnet": {
        "table 1": (7, 3),
        "table 2": (7, 1),
        "section 3.1": (1, 2),
        "section 3.6": (2, 1),
        "section 3.6, loss": (1, 1),
        "section 3.6, epochs": (1, 1),
        "section 3.6, comparison": (11, 2),
    },
    "resnet50-breakhis": {"table I": (3, 5), "table II": (11, 1), "figures 8 and 9": (7, 1)},
    "cbis-ddsm": {
        "table 1": (1, 1),
        "table 2": (8, 1),
        "table 3": (4, 2),
        "table 4": (2, 2),
        "table 5": (6, 2),
        "section 4.3.2": (4, 1),
        "table 6": (8, 1),
        "table 7": (20, 3),
        "table 8": (20, 3),
        "table 9": (14, 3),
        "table 10": (3, 3),
        "figure 7": (1, 1),
        "figure 8": (1, 3),
        "figure 8, counts": (1, 4),
    },
    "hybrid-bilstm": {
        "table I": (3, 5),
        "table II": (4, 1),
        "table III": (10, 2),
        "figure 4": (5, 1),
        "figure 5": (4, 2),
        "section I": (4, 1),
    },
    "mini-ddsm": {
        "table 1": (12, 6),
        "section 3.2.1": (1, 2),
        "figures 3.3 and 3.4": (2, 1),
        "section 4.1": (2, 1),
        "section 4.2": (4, 1),
    },
}
"""Rows and columns of each table, counted in the papers."""


@pytest.mark.parametrize("name", NAMES)
def test_every_table_of_a_paper_is_whole(papers: Mapping[str, ModuleType], name: str) -> None:
    paper = papers["cells"].read_paper(EXAMPLES / "papers" / f"{name}.toml")
    found = {table.name: (len(table.rows), len(table.columns)) for table in paper.tables}
    assert found == COUNTS[name]
    for table in paper.tables:
        assert len(table.cells) == len(table.rows) * len(table.columns)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_has_a_source_or_a_reason(papers: Mapping[str, ModuleType], name: str) -> None:
    paper = papers["cells"].read_paper(EXAMPLES / "papers" / f"{name}.toml")
    kinds = papers["measured"].KINDS
    for cell in paper.cells:
        for source in cell.sources.values():
            assert bool(source.of) != bool(source.not_possible)
            assert (source.of.rpartition(":")[0] if ":" in source.of else "") in kinds
    for picture in paper.pictures:
        assert bool(picture.not_possible) != bool(picture.file or picture.draw)


RECIPES = {
    "bcnet": ("bcnet",),
    "resnet50-breakhis": ("resnet50-breakhis",),
    "cbis-ddsm": ("cbis-ddsm-ft",),
    "hybrid-bilstm": ("hybrid-bilstm",),
    "mini-ddsm": ("mini-ddsm-single", "mini-ddsm-hierarchy"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_cells_have_what_evaluate_prints_of_the_papers(
    papers: Mapping[str, ModuleType], name: str
) -> None:
    """Every figure that bccli knows of a paper is a cell with the same value, at the same place."""
    paper = papers["cells"].read_paper(EXAMPLES / "papers" / f"{name}.toml")
    ours = Counter(
        (cell.section, round(float(cell.printed) / cell.scale, 4))
        for cell in paper.cells
        if isinstance(cell.printed, int | float)
    )
    by_table = Counter(
        (cell.table, round(float(cell.printed) / cell.scale, 4))
        for cell in paper.cells
        if isinstance(cell.printed, int | float)
    )
    for figure, number in Counter(_places(name)).items():
        assert max(ours[figure], by_table[figure]) >= number, figure


def _places(name: str) -> list[tuple[str, float]]:
    """Where a paper's figures stand, without the word section, and their values.

    What is said of test's curve is a printed value once more, beside another measure.
    """
    figures: list[PaperFigure] = [figure for recipe in RECIPES[name] for figure in PAPERS[recipe]]
    return [
        (figure.where.removeprefix("section "), round(figure.value, 4))
        for figure in figures
        if not figure.measure.startswith(WATCHED)
    ]


def test_there_is_a_script_for_every_paper() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.sh")} == {*RECIPES, "quickstart"}
    assert set(NAMES) == set(RECIPES)


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"], ["a", "--phantoms"]])
@pytest.mark.parametrize("name", NAMES)
def test_wrong_arguments_are_a_line_of_usage(name: str, arguments: list[str]) -> None:
    done = subprocess.run([EXAMPLES / f"{name}.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"usage: examples/{name}.sh FOLDER [RESULTS] [--phantom]" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_made_up_images_are_not_written_beside_real_ones(name: str, tmp_path: Path) -> None:
    (tmp_path / "real.png").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [EXAMPLES / f"{name}.sh", tmp_path, tmp_path / "results", "--phantom"]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{tmp_path} is not empty; name a new folder" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["real.png"]


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FILLED = {"path": "a.png", "label": "benign", "split": "test", "patient": "P1", "source": "a", "variant": "0"}
PLACED = dict.fromkeys(("row", "col"), "0") | dict.fromkeys(("width", "height"), "1")
ROW = ",".join((FILLED | PLACED).get(column, "") for column in COLUMNS)
BCCLI = f"""#!/usr/bin/env bash
printf '%s\\x1f' "$@" >>"$CALLS"; echo >>"$CALLS"
case $1 in
  prepare)
    mkdir -p "$4"
    echo {",".join(COLUMNS)} >"$4/manifest.csv"
    echo {ROW} >>"$4/manifest.csv"
    echo {PIXEL} | base64 -d >"$4/a.png" ;;
  evaluate) echo '{{"runs": []}}' ;;
  predict) cat >/dev/null ;;
esac
"""
"""Writes down what it is called with, and makes what the scripts read of a prepared dataset."""


@pytest.mark.parametrize("name", NAMES)
def test_the_full_form_of_a_script_calls_commands_that_there_are(name: str, tmp_path: Path) -> None:
    _write(tmp_path / "bin" / "bccli", BCCLI)
    _write(tmp_path / "bin" / "python", f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CALLS": str(tmp_path / "calls")}
    command = [EXAMPLES / f"{name}.sh", tmp_path / "raw", tmp_path / "results"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = [line.split("\x1f")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    assert {call[0] for call in calls} >= {"prepare", "train"}
    parent = click.Context(cli, **cli.context_settings)  # click keeps the help option of the first context
    for call in calls:
        cli.commands[call[0]].make_context(call[0], call[1:], parent=parent)
    with (tmp_path / "results" / "tables.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["state"] for row in csv.DictReader(stream)} <= {"made", "not possible", "not made yet"}


def _write(path: Path, text: str) -> None:
    """Write a program."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_a_cell_without_source_and_reason_is_refused(
    papers: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    path = tmp_path / "paper.toml"
    path.write_text(
        'title = "T"\n[[table]]\nname = "table 1"\ncaption = "c"\nsection = "1"\ncolumns = ["x"]\n'
        'rows = [["a", 1.0]]\n'
    )
    with pytest.raises(ValueError, match="table 1, a, x: no source, no reason"):
        papers["cells"].read_paper(path)


PAGE = """
title = "A paper"
[[table]]
name = "table 1"
caption = "rates"
section = "2"
columns = ["accuracy", "AUC"]
of = ["accuracy", "roc_auc"]
run = "{row}"
rows = [["net", 0.9, 0.8], ["other", 0.7, 0.6], ["rival", 0.5, 0.4]]
by_row.rival.not_possible = "cited"
by_row.rival.of = ""
"""


def test_a_page_has_the_paper_its_protocol_and_patients_apart(
    papers: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    (tmp_path / "page.toml").write_text(PAGE)
    for protocol, accuracy, limits in (("paper", 0.8, None), ("honest", 0.7, {"accuracy": [0.6, 0.75]})):
        figures = {
            "split": "test",
            "group": None,
            "n": 10,
            "accuracy": accuracy,
            "roc_auc": None,
            "ci": limits,
        }
        run = tmp_path / protocol / "net"
        run.mkdir(parents=True)
        reasons = {"roc_auc": "one class alone"}
        (run / "metrics.json").write_text(json.dumps({"runs": [{**figures, "reasons": reasons}]}))
    papers["compare"].compare(tmp_path / "page.toml", tmp_path, [], made_up=False)
    page = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| net | accuracy | 0.900 | 0.800 | 0.700 (0.600–0.750) |" in page
    assert "(1 cell: net; AUC): one class alone." in page
    assert "* Not made yet (2 cells: other; all columns): paper/other/metrics.json; honest/other/" in page
    assert "* Not possible (2 cells: rival; all columns): cited." in page
    assert (tmp_path / "figures" / "table-1.png").stat().st_size > 0
    papers["compare"].compare(tmp_path / "page.toml", tmp_path, [("other", "net")], made_up=True)
    page = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| other | accuracy | 0.700 | 0.800 | 0.700 (0.600–0.750) |" in page
    assert "`net` stands in for `other`." in page
    assert "All images are made up" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_script_makes_every_cell_of_its_paper_on_made_up_images(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = _run(name, tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    record_property("cpu_seconds", after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert Counter(row["state"] for row in rows).keys() <= {"made", "not possible"}
    assert len(rows) == sum(height * width for height, width in COUNTS[name].values())
    page = (tmp_path / "results" / "tables.md").read_text(encoding="utf-8")
    assert "not made yet" not in page
    pictures = [line.partition("](")[2].partition(")")[0] for line in page.splitlines() if line[:2] == "!["]
    assert pictures
    for picture in pictures:
        assert (tmp_path / "results" / picture).stat().st_size > 0


def _run(name: str, folder: Path) -> list[dict[str, str]]:
    """Run a script with --phantom; returns the cells of its tables."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [EXAMPLES / f"{name}.sh", folder / "raw", folder / "results", "--phantom"]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with (folder / "results" / "tables.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
