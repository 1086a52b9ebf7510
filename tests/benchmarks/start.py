"""How long `bccli --help` takes, against an interpreter that does nothing."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Row, Side, compare, left_below

LIMIT = 0.2


def start(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield one row."""
    yield compare(
        "start",
        Side("bccli --help", [sys.executable, "-m", "bccli", "--help"]),
        Side("python -c pass", [sys.executable, "-c", "pass"]),
        rounds=rounds or 10,
        target=left_below(LIMIT, "s"),
    ).row
