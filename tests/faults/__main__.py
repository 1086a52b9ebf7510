"""`python -m tests.faults`: let acts on files fail, and print what became of it."""

import argparse
import json
import random
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue

from tests.faults.cases import CASES, Case
from tests.faults.kinds import KINDS, Kind
from tests.faults.plan import build, compiler
from tests.faults.server import Server
from tests.faults.trial import Bench, Fault, Verdict


def sample(faults: Sequence[Fault], number: int | None, seed: int) -> list[Fault]:
    """So many faults, all where it is None: in turn from each case, kind, act and step."""
    rng = random.Random(seed)
    strata: dict[tuple[str, ...], list[Fault]] = defaultdict(list)
    for fault in faults:
        strata[fault.case.name, fault.kind.name, fault.act.act, fault.act.step].append(fault)
    keys = sorted(strata)
    rng.shuffle(keys)
    for key in keys:
        rng.shuffle(strata[key])
    deepest = max(map(len, strata.values()), default=0)
    chosen = [strata[key][depth] for depth in range(deepest) for key in keys if depth < len(strata[key])]
    return chosen if number is None else chosen[:number]


def attempt_all(benches: Sequence[Bench], faults: Sequence[Fault]) -> Iterator[Verdict]:
    """Try faults on all benches at once; the verdicts as they come."""
    waiting: Queue[Fault] = Queue()
    done: Queue[Verdict | Exception] = Queue()
    for fault in faults:
        waiting.put(fault)

    def work(bench: Bench) -> None:
        while True:
            try:
                done.put(bench.attempt(waiting.get_nowait()))
            except Empty:
                return
            except Exception as error:
                done.put(error)

    threads = [threading.Thread(target=work, args=(bench,), daemon=True) for bench in benches]
    for thread in threads:
        thread.start()
    for _ in faults:
        verdict = done.get()
        if isinstance(verdict, Exception):
            raise verdict
        yield verdict


def table(verdicts: Sequence[Verdict], by: str) -> str:
    """Tried, survived, lost, left over and said wrongly, in Markdown, by `case`, `command` or `kind`."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        if not verdict.missed:
            found = Counter(
                tried=1,
                survived=int(verdict.survived),
                lost=int(bool(verdict.lost)),
                left=int(bool(verdict.left)),
                said=int(bool(verdict.said)),
            )
            rows[_label(verdict.fault, by)] += found
            rows["all"] += found
    names = [*(name for name in rows if name != "all"), "all"]
    lines = [f"| {by} | tried | survived | lost | left over | said wrongly |", "|---|---|---|---|---|---|"]
    for name in names:
        cells = (rows[name][key] for key in ("tried", "survived", "lost", "left", "said"))
        lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(lines)


def _label(fault: Fault, by: str) -> str:
    if by == "kind":
        return fault.kind.name
    return fault.case.name if by == "case" else fault.case.name.partition(",")[0]


def main() -> int:
    """Parse, try, print."""
    options = _options()
    if compiler() is None:
        print("no C compiler: install gcc")
        return 3
    cases = [case for case in CASES if case.name.startswith(tuple(options.command))]
    kinds = tuple(kind for kind in KINDS if options.kind in kind.name)
    with tempfile.TemporaryDirectory() as folder:
        benches = [open_bench(Path(folder), number) for number in range(options.jobs)]
        faults = sample(list(all_faults(benches, cases, kinds)), options.number, options.seed)
        faults = [fault for fault in faults if options.step in f"{fault.act.act} {fault.act.step}"]
        print(f"{len(faults):,} faults", flush=True)
        verdicts = list(_told(attempt_all(benches, faults), options.save, options.minutes))
        for bench in benches:
            bench.server.close()
    for by in ("case", "command", "kind"):
        print(f"\n{table(verdicts, by)}")
    missed = sum(verdict.missed for verdict in verdicts)
    print(f"\n{missed} acts were not reached")
    return int(not all(verdict.survived for verdict in verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--command", nargs="+", default=[""], help="cases whose names begin so, such as train"
    )
    parser.add_argument("--kind", default="", help="only kinds with this in their name, such as killed")
    parser.add_argument("--step", default="", help="only acts and files with this in their name")
    parser.add_argument("--number", type=int, help="so many faults; by default all")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--save", type=Path, help="append each verdict to this file, a line of JSON")
    return parser.parse_args()


def open_bench(folder: Path, number: int) -> Bench:
    """A bench with a server of its own."""
    root = folder / f"bench{number}"
    root.mkdir()
    return Bench(root, Server(build(root), root / "server.log"))


def all_faults(benches: Sequence[Bench], cases: Sequence[Case], kinds: tuple[Kind, ...]) -> Iterator[Fault]:
    """All faults of the cases. The others start from copies of what the first bench starts from."""
    first, *others = benches
    for case in cases:
        yield from first.faults_of(case, kinds)
    for other in others:
        shutil.copytree(first.root / "starts", other.root / "starts")


def _told(verdicts: Iterator[Verdict], save: Path | None, minutes: float) -> Iterator[Verdict]:
    """Print what went wrong as it comes."""
    began = time.monotonic()
    for verdict in verdicts:
        if not verdict.survived:
            print(f"{verdict.fault}\n  {verdict.lost or verdict.left or verdict.said}", flush=True)
        if save:
            facts = [
                str(verdict.fault),
                verdict.code,
                verdict.missed,
                verdict.lost,
                verdict.left,
                verdict.said,
            ]
            with save.open("a") as stream:
                stream.write(json.dumps(facts) + "\n")
        yield verdict
        if time.monotonic() - began > 60 * minutes:
            return


if __name__ == "__main__":
    raise SystemExit(main())
