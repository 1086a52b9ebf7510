"""Reading prepared images from the pack that `prepare --pack` writes, against reading their PNG files."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Outcome, Quantity, Row, Side, compare, ratio_at_most, verdict
from tests.benchmarks.processes import measure

DATA = (("50x50", 4000, 20), ("700x460", 400, 5))
"""The size of images, how many there are, and how often each is read."""

RATE = Quantity(
    lambda run: float(json.loads(run.output.splitlines()[-1])["seconds"]),
    lambda value: f"{1 / value:,.0f} a second of CPU",
)
"""Images by the CPU time of one, which a script measured itself."""


def packing(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield two rows for each size: how many images a second of CPU reads, and whether pixels are equal."""
    note("packing: phantoms, each read several times in random orders; all files are in memory")
    for size, count, passes in DATA:
        data = folder / size
        phantoms = ["phantom", "histology", str(data), "--count", str(count), "--patients", "40"]
        options = ["--size", size, "--pack", "--no-group-similar"]
        measure([sys.executable, "-m", "bccli", "prepare", *phantoms, *options])
        outcome = compare(
            f"reading {count:,} images of {size.replace('x', '×')}, {passes} times",
            *(_side(name, title, data, passes) for name, title in (("pack", "packed"), ("png", "PNG files"))),
            rounds=rounds or 3,
            quantity=RATE,
            target=ratio_at_most(0.1),
        )
        yield outcome.row
        yield _equality(outcome)


def _side(name: str, title: str, data: Path, passes: int) -> Side:
    script = [sys.executable, "-m", "tests.benchmarks.rivals.reading", name, str(data), str(passes)]
    return Side(title, script)


def _equality(outcome: Outcome) -> Row:
    """Whether all rounds of both sides have read the same pixels."""
    hashes = {json.loads(run.output.splitlines()[-1])["hash"] for run in (*outcome.left, *outcome.right)}
    return Row(
        name=f"{outcome.row.name}: different pixels",
        left=f"{len(hashes) - 1}",
        right="",
        ratio="",
        target="0",
        verdict=verdict(len(hashes) == 1),
        rounds=outcome.row.rounds,
    )
