"""`bccli prepare bach` as the hybrid network's paper does it: two workers against one, and their memory."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.phantoms import draw_phantom
from tests.benchmarks.comparing import PEAK, Row, Side, Target, compare, ratio_at_most
from tests.conftest import REAL_DATA

SIZE = 2048, 1536
IMAGES = 40
MOST_MEMORY = 1.5e9


def slides(
    rounds: int | None, folder: Path, note: Callable[[str], None], images: int = IMAGES
) -> Iterator[Row]:
    """Yield two rows: time and peak memory of the process tree."""
    source = folder / "ICIAR2018_BACH_Challenge"
    _make_bach(source, images, note)
    two, one = (_side(source, folder / f"data{workers}", workers) for workers in (2, 1))
    name = f"prepare bach, Macenko and patches, {images} images of 2048×1536"
    yield compare(name, two, one, rounds=rounds or 3, target=ratio_at_most(1 / 1.7)).row
    limit = Target("left ≤ 1.5 GB", lambda left, right: left <= MOST_MEMORY)
    yield compare(f"{name}: memory", two, one, rounds=1, quantity=PEAK, target=limit).row


def _side(source: Path, out: Path, workers: int) -> Side:
    command = [
        sys.executable, "-m", "bccli", "prepare", "bach", str(source), str(out), "--stain", "macenko",
        "--patch", "512", "--workers", str(workers),
    ]  # fmt: skip
    return Side(f"{workers} workers", command, lambda: shutil.rmtree(out, ignore_errors=True))


def _make_bach(source: Path, images: int, note: Callable[[str], None]) -> None:
    """Write TIFFs under BACH's names: real slides enlarged where there are some, phantoms otherwise."""
    files = sorted((REAL_DATA / "breakhis").rglob("*.png"))[:8]
    if not files:
        note(f"slides: no real slides at {REAL_DATA / 'breakhis'}; phantoms instead")
    seeds = [
        np.asarray(Image.fromarray(decode(files[number])).resize(SIZE, Image.Resampling.BICUBIC))
        if files
        else draw_phantom("histology", "benign", seed=number, patient=1, slide=1, number=1, size=SIZE)[0]
        for number in range(8 if files else 2)
    ]
    letters = (("Normal", "n"), ("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"))
    for number in range(images):
        name, prefix = letters[number % 4]
        path = source / "Photos" / name / f"{prefix}{number // 4 + 1:03}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(seeds[number % len(seeds)], 40 * number, axis=1)).save(path)
