"""What was measured last of each benchmark, kept in a file, and the guide's page that is made of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tests.benchmarks.comparing import Row
from tests.benchmarks.reporting import markdown, words_of
from tests.conftest import REPOSITORY

RESULTS = REPOSITORY / "tests" / "benchmarks" / "results.json"
PAGE = REPOSITORY / "examples" / "guide" / "benchmarks.md"
_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
_ROW = [field.name for field in fields(Row)]

Results = dict[str, dict[str, Any]]
"""By the name of a benchmark its rows, notes, and under what conditions it ran."""


def read_results(path: Path = RESULTS) -> Results:
    """The results so far."""
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return results


def record(
    results: Results, name: str, rows: Sequence[Row], notes: Sequence[str], where: Mapping[str, Any]
) -> Results:
    """The results with a benchmark measured anew."""
    found = {**where, "notes": list(notes), "rows": [asdict(row) for row in rows]}
    return dict(sorted({**results, name: found}.items()))


def write(results: Results, path: Path = RESULTS, page: Path = PAGE) -> None:
    """Keep the results, and bring the page's table up to date."""
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(with_results(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def with_results(page: str, results: Results) -> str:
    """A page whose part between the two marks shows the results."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "".join(f"\n{_section(*item)}\n" for item in results.items()) + _END + after


def _section(name: str, found: Mapping[str, Any]) -> str:
    rows = [Row(**{key: row[key] for key in _ROW}) for row in found["rows"]]
    notes = [f"{note[:1].upper()}{note[1:]}." for note in found["notes"]]
    return "\n\n".join([f"### `{name}`", words_of(found), *notes, markdown(rows)]) + "\n"
