"""Records as text: every format streams, and stays whole where its rows or its reader end early."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  # before examples are timed
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.terminal.writers import REMARKS, WRITERS

ROWS: list[dict[str, Any]] = [
    {"path": "a.png", "predicted": "benign", "p_benign": 0.75, "error": None},
    {"path": 'line\nend, "\u2028" Präparat', "predicted": None, "p_benign": None, "error": "0 bytes"},
]


class Counting(io.StringIO):
    """A stream that remembers what was there at each flush."""

    def __init__(self) -> None:
        super().__init__(newline="")
        self.flushes = 0
        self.flushed = ""

    def flush(self) -> None:
        self.flushes += 1
        self.flushed = self.getvalue()


def written(format: str, rows: Any) -> str:
    """What a writer makes of rows."""
    stream = Counting()
    WRITERS[format](rows, stream, "")
    return stream.getvalue()


def test_csv_and_json_say_what_the_rows_say() -> None:
    assert json.loads(written("json", iter(ROWS))) == ROWS
    assert [json.loads(line) for line in written("jsonl", iter(ROWS)).split("\n")[:-1]] == ROWS
    empty = [{key: "" if value is None else str(value) for key, value in row.items()} for row in ROWS]
    assert list(csv.DictReader(io.StringIO(written("csv", iter(ROWS)), newline=""))) == empty


def test_json_is_indented_as_ever() -> None:
    for rows in ([], ROWS[:1], ROWS):
        assert written("json", iter(rows)) == json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def test_no_rows_are_an_empty_array_or_nothing() -> None:
    assert written("json", iter(())) == "[]\n"
    assert written("csv", iter(())) == written("jsonl", iter(())) == ""


def test_json_is_valid_where_the_rows_end_with_an_exception() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from ROWS
        raise MemoryError

    stream = Counting()
    with pytest.raises(MemoryError):
        WRITERS["json"](rows(), stream, "")
    assert json.loads(stream.getvalue()) == ROWS


@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_a_row_is_seen_before_the_next_is_asked_for(format: str) -> None:
    """A batch of rows at once included, which comes faster than anybody reads."""
    stream = Counting()

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(100):
            assert f"row{number - 1}" in f"row-1{stream.flushed}"
            yield {"path": f"row{number}"}

    WRITERS[format](rows(), stream, "")


@pytest.mark.parametrize("format", ["csv", "json"])
def test_a_flood_of_rows_is_not_flushed_one_by_one(format: str) -> None:
    stream = Counting()
    started = time.monotonic()
    WRITERS[format](({"path": "x.png"} for _ in range(20_000)), stream, "")
    assert stream.flushes < 300 + 1000 * (time.monotonic() - started)


def test_a_closed_pipe_ends_a_table_quietly(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text("path,label,p_a,p_b\n1.png,a,0.9,0.1\n2.png,b,0.2,0.8\n")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stdout:
        ended = subprocess.run(
            [sys.executable, "-m", "bccli", "evaluate", table, "--format", "table"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


# LaTeX: what is written reads back as what was meant, and nothing in it is a command of somebody else.

_TEXT = {
    r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^", r"\textbar": "|",
    r"\beta": "β", r"\gamma": "γ", r"\kappa": "κ", r"\pm": "±", r"\times": "×", r"\geq": "≥", r"\chi": "χ",
}  # fmt: skip
_TOKEN = re.compile(r"\\[a-z]+|\\.|\^2|--|.", re.DOTALL)


def _read_back(latex: str) -> str:
    """What a LaTeX text prints; fails at a mark that would do something instead."""
    found = []
    for token in _TOKEN.findall(latex):
        if token in _TEXT:
            found.append(_TEXT[token])
        elif token in ("{", "}", "$"):
            pass
        elif len(token) == 2 and token[0] == "\\":
            assert token[1] in "&%$#_{}", latex
            found.append(token[1])
        elif token == "^2":
            found.append("²")
        elif token == "--":
            found.append("–")
        else:
            assert token not in "&%#_~^\\", latex
            found.append(token.replace("−", "-"))
    return "".join(found)


_MARKS = "&%$#_{}~^\\[]*-,`'?!<>|\"–−β±×²≥ab1 é"
_NAMES = st.text(st.sampled_from(_MARKS), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(st.tuples(_NAMES, _NAMES), min_size=1, max_size=3), _NAMES)
def test_latex_prints_every_name_as_it_is(cells: list[tuple[str, str]], heading: str) -> None:
    rows = [{heading: one, "other/": two} for one, two in cells]
    lines = written("latex", rows).split("\n")
    assert lines[0] in (r"\begin{tabular}{ll}", r"\begin{tabular}{lr}", r"\begin{tabular}{rl}",
                        r"\begin{tabular}{rr}")  # fmt: skip
    assert lines[1] == lines[3] == lines[-3] == r"\hline"
    for line, meant in zip(
        [lines[2], *lines[4:-3]], [(heading.replace("_", " "), "other/"), *cells], strict=True
    ):
        assert not line.startswith(("[", "*"))  # the end of the line before would take it for its option
        told = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
        assert [_read_back(text).replace("−", "-") for text in told] == [
            text.replace("−", "-") for text in meant
        ]


@given(_NAMES)
def test_latex_joins_no_marks(name: str) -> None:
    (line,) = [text for text in REMARKS["latex"](name).split("\n") if text]
    text = line.removeprefix(r"\par\noindent ")
    assert _read_back(text).replace("−", "-") == name.replace("−", "-")
    assert not re.search(r",,|''|[`?!]`", text)
    assert text.count("--") == name.count("–")
    assert "---" not in text


@pytest.mark.parametrize("mark", ["\n", "\r", "\t", "\x00", "\x1b", "\u2028", "\udcff"])
@pytest.mark.parametrize("format", ["latex", "markdown"])
def test_a_name_stays_in_its_line(format: str, mark: str) -> None:
    rows = [{"run": f"a{mark}b", "n": 1}]
    lines = written(format, rows).split("\n")
    assert len(lines) == {"latex": 8, "markdown": 4}[format]
    assert mark not in lines[-4 if format == "latex" else 2]
    assert mark not in REMARKS[format](f"a{mark}b").removesuffix("\n")
