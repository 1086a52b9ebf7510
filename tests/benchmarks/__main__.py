"""`python -m tests.benchmarks [NAME…]`: measure, and print a Markdown table.

Needs `pip install bccli[bench,test]`. Each side is a process of its own, started cold and in turns with
the other one; times and memory are medians.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks.children import children
from tests.benchmarks.comparing import Row
from tests.benchmarks.finetune import finetune
from tests.benchmarks.frozen import decoding, frozen
from tests.benchmarks.fusing import fusing
from tests.benchmarks.grid import grid
from tests.benchmarks.heads import heads
from tests.benchmarks.intervals import intervals
from tests.benchmarks.memory import memory
from tests.benchmarks.predict import predict
from tests.benchmarks.preparing import preparing
from tests.benchmarks.regions import regions
from tests.benchmarks.reporting import as_json, machine, markdown
from tests.benchmarks.slides import slides
from tests.benchmarks.stain import stain
from tests.benchmarks.start import start
from tests.benchmarks.trees import trees
from tests.benchmarks.whole import whole
from tests.conftest import REPOSITORY

Benchmark = Callable[[int | None, Path, Callable[[str], None]], Iterator[Row]]
BENCHMARKS: dict[str, Benchmark] = {
    "start": start,
    "predict": predict,
    "frozen": frozen,
    "decoding": decoding,
    "whole": whole,
    "finetune": finetune,
    "grid": grid,
    "heads": heads,
    "trees": trees,
    "memory": memory,
    "fusing": fusing,
    "macenko": stain,
    "slides": slides,
    "intervals": intervals,
    "regions": regions,
    "children": children,
    "preparing": preparing,
}


def run(names: Sequence[str], rounds: int | None, rows: list[Row], notes: list[str]) -> None:
    """Add the rows of the benchmarks, one by one, and what is to be known about their data."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="bccli-benchmark-") as folder:
            for row in BENCHMARKS[name](rounds, Path(folder), notes.append):
                rows.append(row)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--rounds", type=int, help="how often each side runs; default 3 to 10 by benchmark")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to FILE")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    target = options.json.absolute() if options.json else None
    os.chdir(REPOSITORY)
    where = machine()
    rows: list[Row] = []
    notes: list[str] = []
    try:
        run(options.names or list(BENCHMARKS), options.rounds, rows, notes)
    finally:  # what was measured before a failure is worth having
        print(markdown(rows), where, *notes, sep="\n\n", flush=True)
        if target:
            target.write_text(json.dumps(as_json(rows, where, notes), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
