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

from tests.benchmarks import results
from tests.benchmarks.cards import cards
from tests.benchmarks.children import children
from tests.benchmarks.comparing import Row
from tests.benchmarks.engines import engines
from tests.benchmarks.finetune import finetune
from tests.benchmarks.frozen import decoding, frozen
from tests.benchmarks.fusing import fusing
from tests.benchmarks.grid import grid
from tests.benchmarks.heads import heads
from tests.benchmarks.intervals import intervals
from tests.benchmarks.memory import memory
from tests.benchmarks.packing import packing
from tests.benchmarks.predict import predict
from tests.benchmarks.preparing import preparing
from tests.benchmarks.regions import regions
from tests.benchmarks.reporting import as_json, conditions, markdown, words_of
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
    "engines": engines,
    "cards": cards,
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
    "packing": packing,
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
    parser.add_argument("--record", action="store_true", help="keep the figures, also in the guide")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to FILE")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    target = options.json.absolute() if options.json else None
    os.chdir(REPOSITORY)
    where = conditions()
    rows: list[Row] = []
    notes: list[str] = []
    try:
        for name in options.names or list(BENCHMARKS):
            where, mine, said = conditions(), len(rows), len(notes)
            run([name], options.rounds, rows, notes)
            if options.record:
                results.write(results.record(results.read_results(), name, rows[mine:], notes[said:], where))
    finally:  # what was measured before a failure is worth having
        print(markdown(rows), words_of(where), *notes, sep="\n\n", flush=True)
        if target:
            target.write_text(json.dumps(as_json(rows, where, notes), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
