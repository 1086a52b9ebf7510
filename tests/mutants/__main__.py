"""`python -m tests.mutants`: change a module a little, run its tests, and print whether they saw it."""

import argparse
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.mutants.coverage_map import CoverageMap, measure
from tests.mutants.explained import EXPLAINED
from tests.mutants.modules import Module, modules
from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.trial import Trial, Verdict, attempt_all, warm_up

_LEAST_SECONDS = 60
_TIMES = 20
"""A mutant hangs where its tests take so many times as long as without it."""


def sample(mutants: Sequence[Mutant], number: int | None, seed: int) -> list[Mutant]:
    """So many mutants, all where it is None, each as likely as the others; in their own order."""
    if number is None or number >= len(mutants):
        return list(mutants)
    chosen = random.Random(seed).sample(range(len(mutants)), number)
    return [mutants[index] for index in sorted(chosen)]


def table(verdicts: Iterable[Verdict]) -> str:
    """Mutants by module: killed, explained, survived, and the share that was killed, in Markdown."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        for name in (verdict.mutant.module, "all"):
            rows[name][outcome(verdict)] += 1
    names = [*(name for name in rows if name != "all"), "all"]
    lines = ["| module | mutants | killed | explained | survived | killed |", "|---|---|---|---|---|---|"]
    for name in names:
        row = rows[name]
        cells = row.total(), row["killed"], row["explained"], row["survived"]
        share = f"{100 * row['killed'] / max(row.total(), 1):.1f} %"
        lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} | {share} |")
    return "\n".join(lines)


def outcome(verdict: Verdict) -> str:
    """Killed, explained or survived."""
    if verdict.killed:
        return "killed"
    return "explained" if verdict.mutant.key in EXPLAINED else "survived"


def main() -> int:
    """Parse, try, print."""
    options = _options()
    known = [one for one in modules() if options.module in one.name]
    mutants = [mutant for one in known for mutant in mutants_of(one.name, one.source)]
    chosen = sample(mutants, options.number, options.seed)
    print(f"{len(chosen):,} of {len(mutants):,} mutants", flush=True)
    warm_up()
    trials = trials_of(chosen, known, _map_of(known, options.map))
    verdicts = list(_told(attempt_all(trials, options.jobs)))
    print(f"\n{table(verdicts)}")
    return int(any(outcome(verdict) == "survived" for verdict in verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--module", default="", help="only modules with this in their name, such as splits")
    parser.add_argument("--number", type=int, help="so many mutants; by default all")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once")
    parser.add_argument(
        "--map", type=Path, help="keep in this file which tests run which lines, or read it there"
    )
    return parser.parse_args()


def _map_of(known: Sequence[Module], file: Path | None) -> CoverageMap:
    """Which tests run which lines, as a file has it or measured anew."""
    if file and file.exists():
        return CoverageMap.from_json(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        found = measure(known, Path(folder))
    if file:
        file.write_text(found.to_json(), encoding="utf-8")
    return found


def trials_of(mutants: Sequence[Mutant], known: Sequence[Module], found: CoverageMap) -> list[Trial]:
    """Each mutant with the tests that run its lines."""
    by_name = {one.name: one for one in known}
    return [_trial(mutant, by_name[mutant.module], found) for mutant in mutants]


def _trial(mutant: Mutant, module: Module, found: CoverageMap) -> Trial:
    tests = found.tests_of(mutant, module)
    seconds = _LEAST_SECONDS + _TIMES * sum(found.seconds[test] for test in tests)
    return Trial(mutant, module, tests, seconds)


def _told(verdicts: Iterator[Verdict]) -> Iterator[Verdict]:
    """Print what survives as it comes, and explanations of what does not."""
    for verdict in verdicts:
        mutant = verdict.mutant
        where = f"{mutant.module.replace('.', '/')}.py:{mutant.line}"
        if outcome(verdict) == "survived":
            print(f"{where}\n  {mutant.text}\n  {mutant.before} → {mutant.after}", flush=True)
        elif verdict.killed and mutant.key in EXPLAINED:
            print(f"{where} is killed, and explained: {mutant.key}", file=sys.stderr, flush=True)
        yield verdict


if __name__ == "__main__":
    raise SystemExit(main())
