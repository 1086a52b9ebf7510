"""Macenko's stain normalisation of an image of the hybrid paper's size: bccli against others."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.phantoms import draw_phantom
from tests.benchmarks.comparing import Outcome, Quantity, Row, Side, compare, ratio_at_most, verdict
from tests.benchmarks.processes import Measurement
from tests.conftest import REAL_DATA

SIZE = 2048, 1536
DEGREES, LEVELS = 1.0, 1.0
"""How far bccli's stain vectors and its normalised pixels, on average, may be from torchstain's."""


RIVALS = ("torchstain", "torchstain, NumPy", ratio_at_most(0.2)), ("macenko-pca", "macenko-pca, Rust", None)


def _answer(run: Measurement) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run.output.splitlines()[-1])
    return answer


INSIDE = Quantity(lambda run: float(_answer(run)["seconds"]), lambda value: f"{value * 1000:.0f} ms")
"""Seconds that a script measured itself, imports and start left out."""


def stain(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row of the time per rival, and how far the results of the first one are apart."""
    np.save(folder / "image.npy", _image(note))
    ours = _side("bccli", "bccli", folder)
    for rival, name, target in RIVALS:
        if importlib.util.find_spec(rival.replace("-", "_")) is None:
            note(f"macenko: {rival} is not installed, nothing to compare with")
            continue
        outcome = compare(
            "macenko, 2048×1536", ours, _side(name, rival, folder),
            rounds=rounds or 5, quantity=INSIDE, target=target,
        )  # fmt: skip
        yield outcome.row
        if rival == "torchstain":
            yield _distance(outcome, folder)


def _image(note: Callable[[str], None]) -> np.ndarray:
    """A real slide enlarged to the size where there is one, a phantom otherwise."""
    slides = sorted((REAL_DATA / "breakhis").rglob("*.png"))
    if slides:
        return np.asarray(Image.fromarray(decode(slides[0])).resize(SIZE, Image.Resampling.BICUBIC))
    note(f"macenko: no real slides at {REAL_DATA / 'breakhis'}; a phantom instead")
    return draw_phantom("histology", "benign", seed=0, patient=1, slide=1, number=1, size=SIZE)[0]


def _side(name: str, package: str, folder: Path) -> Side:
    script = [sys.executable, "-m", "tests.benchmarks.rivals.macenko", package]
    return Side(name, [*script, str(folder / "image.npy"), str(folder / f"{package}.npy")])


def _distance(outcome: Outcome, folder: Path) -> Row:
    """The larger angle between the stain vectors, and the mean difference of the normalised pixels."""
    left, right = (np.array(_answer(runs[-1])["stains"]) for runs in (outcome.left, outcome.right))
    degrees = np.degrees(np.arccos(np.clip((left * right).sum(axis=1), -1, 1))).max()
    pixels = [np.load(folder / f"{name}.npy").astype(np.int16) for name in ("bccli", "torchstain")]
    levels = np.abs(pixels[0] - pixels[1]).mean()
    return Row(
        name=f"{outcome.row.name}: bccli less torchstain",
        left=f"stain vectors {degrees:.2f}°",
        right=f"pixels {levels:.2f} grey levels",
        ratio="",
        target=f"≤ {DEGREES:g}°, ≤ {LEVELS:g}",
        verdict=verdict(bool(degrees <= DEGREES and levels <= LEVELS)),
        rounds=outcome.row.rounds,
    )
