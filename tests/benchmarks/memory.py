"""Peak memory of `bccli prepare`, which is not to grow with the number of images."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.comparing import PEAK, Row, Side, compare, ratio_at_most

FEW, MANY = 5_000, 50_000
SIDE, PATIENT, UNKNOWN = 32, 50, 10
"""Pixels along an edge; images of a patient; one image in so many has no patient in its name."""


def memory(
    rounds: int | None, folder: Path, note: Callable[[str], None], few: int = FEW, many: int = MANY
) -> Iterator[Row]:
    """Yield one row: many images against few."""
    left, right = (_prepare(folder, count) for count in (many, few))
    note(f"memory: PNG files of {SIDE}×{SIDE} made for this, one image in {UNKNOWN} of unknown patient")
    yield compare(
        "memory of prepare folder", left, right, rounds=rounds or 3, quantity=PEAK, target=ratio_at_most(1.2)
    ).row


def _prepare(folder: Path, count: int) -> Side:
    source, out = folder / f"raw-{count}", folder / f"prepared-{count}"
    make_images(source, count)
    command = [
        sys.executable, "-m", "bccli", "prepare", "folder", str(source), str(out),
        "--patient-regex", r"/(p\d+)_", "--workers", "2",
    ]  # fmt: skip
    return Side(f"{count:,} images", command, lambda: shutil.rmtree(out, ignore_errors=True))


def make_images(source: Path, count: int) -> None:
    """Write `count` small images of noise, no two alike, into two class folders."""
    for label in ("benign", "malignant"):
        (source / label).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        patient = number // PATIENT
        owner = "unknown" if number % UNKNOWN == 0 else f"p{patient:05d}"
        label = ("benign", "malignant")[patient % 2]
        coarse = rng.integers(0, 256, (SIDE // 4, SIDE // 4, 3), np.uint8)
        image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        image.save(source / label / f"{owner}_{number:06d}.png", compress_level=1)
