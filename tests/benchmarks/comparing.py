"""Two sides, run in turns, and the row of the table that comes of it."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.benchmarks.processes import Measurement, measure


@dataclass(frozen=True)
class Side:
    """A command with a short name; `before` brings the disk into the state it is to start from."""

    name: str
    command: Sequence[str]
    before: Callable[[], None] = lambda: None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """What is compared: how to read it from a measurement, and how to show it."""

    read: Callable[[Measurement], float]
    show: Callable[[float], str]
    memory: bool = False


SECONDS = Quantity(lambda run: run.seconds, lambda value: f"{value:.2f} s")
PEAK = Quantity(lambda run: float(run.peak or 0), lambda value: f"{value / 2**20:.0f} MiB", memory=True)


@dataclass(frozen=True)
class Target:
    """What is promised; `met` takes the medians of left and right."""

    text: str
    met: Callable[[float, float], bool]


def ratio_at_most(limit: float) -> Target:
    """Left needs at most `limit` times what right needs."""
    return Target(f"≤ {limit:g}", lambda left, right: left <= limit * right)


def left_below(limit: float, unit: str) -> Target:
    """Left needs less than `limit`, whatever right needs."""
    return Target(f"left < {limit:g} {unit}", lambda left, right: left < limit)


@dataclass(frozen=True)
class Row:
    """One line of the table, and behind it the measurements of every round for the JSON file."""

    name: str
    left: str
    right: str
    ratio: str
    target: str = ""
    verdict: str = ""
    rounds: int = 1
    measurements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What both sides did in all rounds."""

    row: Row
    left: list[Measurement]
    right: list[Measurement]


def compare(
    name: str,
    left: Side,
    right: Side,
    *,
    rounds: int,
    quantity: Quantity = SECONDS,
    target: Target | None = None,
) -> Outcome:
    """Run left, right, left, right, …, each in a process of its own, and compare the medians."""
    runs: dict[str, list[Measurement]] = {"left": [], "right": []}
    for number in range(1, rounds + 1):
        for key, side in (("left", left), ("right", right)):
            side.before()
            run = measure(side.command, env=side.env, memory=quantity.memory)
            runs[key].append(run)
            shown = f"{run.seconds:.2f} s, CPU {run.cpu_seconds:.2f} s"
            shown += f", {quantity.show(quantity.read(run))}" if quantity.memory else ""
            print(f"{name} {number}/{rounds}  {side.name}: {shown}", file=sys.stderr, flush=True)
    medians = {key: statistics.median(map(quantity.read, several)) for key, several in runs.items()}
    cpu = {key: statistics.median(run.cpu_seconds for run in several) for key, several in runs.items()}
    row = Row(
        name=name,
        left=f"{left.name}: {quantity.show(medians['left'])} (CPU {cpu['left']:.2f} s)",
        right=f"{right.name}: {quantity.show(medians['right'])} (CPU {cpu['right']:.2f} s)",
        ratio=f"{medians['left'] / medians['right']:.3f}",
        target=target.text if target else "",
        verdict=verdict(target.met(medians["left"], medians["right"])) if target else "",
        rounds=rounds,
        measurements={key: [_figures(run) for run in several] for key, several in runs.items()},
    )
    return Outcome(row, runs["left"], runs["right"])


def of_processors(outcome: Outcome, target: Target) -> Row:
    """The row of the same comparison in the time of the processors."""
    left, right = (
        statistics.median(run.cpu_seconds for run in runs) for runs in (outcome.left, outcome.right)
    )
    return replace(
        outcome.row,
        name="the same, time of the processors",
        left=f"{outcome.row.left.partition(':')[0]}: {left:.2f} s",
        right=f"{outcome.row.right.partition(':')[0]}: {right:.2f} s",
        ratio=f"{left / right:.3f}",
        verdict=verdict(target.met(left, right)),
    )


def verdict(met: bool) -> str:
    """The last word on a target."""
    return "pass" if met else "falls short"


def _figures(run: Measurement) -> dict[str, Any]:
    """A measurement without its output."""
    return {key: value for key, value in asdict(run).items() if key not in ("output", "notes")}
