"""Records as text: every format streams, and stays whole where its rows or its reader end early."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bccli.terminal.writers import WRITERS

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
