"""A sweep of six networks × four heads against `model.fit`, against features by hand, and its memory."""

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import PEAK, Row, Side, Target, compare, verdict
from tests.benchmarks.processes import measure

IMAGES, HEADS, EPOCHS = 600, 4, 50
SIDES = (160, 320)
"""The larger images are those of the CBIS-DDSM paper (4.3.1). Of smaller ones the gain is less, as the time
for a head stays what it is."""

MANY, SMALL, FEW_EPOCHS = 20_000, 90, 3
LIMIT = 3e9
"""Bytes that a sweep may take with many images."""

NAMES = (
    "mobilenet-0.25", "mobilenet-0.5", "mobilenet-0.75", "mobilenet", "mobilenet-v2", "mobilenet-v3-small",
)  # fmt: skip


def grid(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row per rival, and one for the memory with many images."""
    note(
        f"grid: {len(NAMES)} networks with random weights, {HEADS} seeds, {EPOCHS} epochs, {IMAGES} phantom "
        "images; Model.fit is worked out from 2 epochs of one head of each network"
    )
    home, rounds = folder / "keras", rounds or 3
    env = {"KERAS_HOME": str(home)}
    measure([sys.executable, "-m", "tests.benchmarks.rivals.networks"], env=env)
    for side in SIDES:
        yield from _rows(side, _phantoms(folder / f"data-{side}", IMAGES, side), folder, rounds, env)
    many = _phantoms(folder / "many", MANY, SMALL)
    large = _sweep(f"{MANY:,} images", many, folder / "large", FEW_EPOCHS, 2, env, NAMES[:2])
    few = folder / f"data-{SIDES[0]}"
    small = _sweep(f"{IMAGES:,} images", few, folder / "small", FEW_EPOCHS, 2, env, NAMES[:2])
    target = Target("left < 3 GB", lambda left, right: left < LIMIT)
    yield compare("memory of a sweep", large, small, rounds=1, quantity=PEAK, target=target).row


def _rows(side: int, data: Path, folder: Path, rounds: int, env: dict[str, str]) -> Iterator[Row]:
    """A row per rival, for images of this side."""
    sweep = _sweep("bccli train", data, folder / f"sweep-{side}", EPOCHS, HEADS, env)
    times: dict[str, list[float]] = {"bccli": [], "features": [], "fit": []}
    for number in range(1, rounds + 1):
        sweep.before()
        times["bccli"].append(measure(sweep.command, env=sweep.env).seconds)
        for how in ("features", "fit"):
            arguments = [str(data), str(side), str(EPOCHS), str(HEADS), how]
            run = measure([sys.executable, "-m", "tests.benchmarks.rivals.grid_fit", *arguments])
            known = float(json.loads(run.output.splitlines()[-1])["seconds"])
            times[how].append(known if how == "fit" else run.seconds)
        shown = ", ".join(f"{name} {values[-1]:.0f} s" for name, values in times.items())
        print(f"grid of {side}×{side} {number}/{rounds}  {shown}", file=sys.stderr, flush=True)
    name = f"{len(NAMES)} networks × {HEADS} heads, {EPOCHS} epochs, {side}×{side}"
    yield _row(name, times, "fit", "Model.fit for each, worked out", 1 / 40, rounds)
    yield _row(name, times, "features", "features by hand", 1, rounds)


def _phantoms(data: Path, count: int, side: int) -> Path:
    command = [sys.executable, "-m", "bccli", "prepare", "phantom", "histology", str(data)]
    measure([*command, "--count", str(count), "--size", f"{side}x{side}"])
    return data


def _sweep(
    name: str,
    data: Path,
    root: Path,
    epochs: int,
    seeds: int,
    env: dict[str, str],
    networks: tuple[str, ...] = NAMES,
) -> Side:
    def forget() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(data / ".cache" / "features", ignore_errors=True)

    chosen = [word for network in networks for word in ("--backbone", network)]
    command = [
        sys.executable, "-m", "bccli", "train", str(data), str(root), *chosen, "--seeds", str(seeds),
        "--epochs", str(epochs), "--batch-size", "32", "--weights", "imagenet",
        "--feature-norm", "none",
    ]  # fmt: skip
    return Side(name, command, forget, env)


def _row(name: str, times: dict[str, list[float]], rival: str, called: str, limit: float, rounds: int) -> Row:
    left, right = statistics.median(times["bccli"]), statistics.median(times[rival])
    return Row(
        name=name,
        left=f"bccli train: {left:.1f} s",
        right=f"{called}: {right:.0f} s",
        ratio=f"{left / right:.3f}",
        target=f"≤ {limit:g}",
        verdict=verdict(left <= limit * right),
        rounds=rounds,
        measurements={
            "left": [{"seconds": value} for value in times["bccli"]],
            "right": [{"seconds": value} for value in times[rival]],
        },
    )
