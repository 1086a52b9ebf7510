"""Peak memory of `bccli train --features-from`, which is not to grow with the number of images."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import PEAK, Row, Side, compare, ratio_at_most
from tests.benchmarks.memory import make_images
from tests.benchmarks.processes import measure

FEW, MANY = 500, 5_000
PATCH = 16
"""Pixels along the edge of a patch, of which an image has four."""

_RUN = "--weights", "none", "--trainable", "none", "--epochs", "1", "--batch-size", "64"


def fusing(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield one row: many images against few, the features of their patches included."""
    note(
        f"fusing: cnn-15 that has learned nothing, 4 patches of {PATCH}×{PATCH} to an image, --head attention"
    )
    left, right = (_fuse(folder, count) for count in (MANY, FEW))
    yield compare(
        "memory of train --features-from",
        left, right, rounds=rounds or 3, quantity=PEAK, target=ratio_at_most(1.2),
    ).row  # fmt: skip


def _fuse(folder: Path, count: int) -> Side:
    source, data, patches, out = (folder / f"{name}-{count}" for name in ("raw", "data", "patches", "out"))
    make_images(source, count)
    bccli = [sys.executable, "-m", "bccli"]
    measure([*bccli, "prepare", "folder", str(source), str(data), "--patch", str(PATCH)])
    measure([*bccli, "train", str(data), str(patches), *_RUN])

    def reset() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(data / ".cache" / "features", ignore_errors=True)

    fused = ["--features-from", str(patches), "--head", "attention", "--dense", "8", "--epochs", "2"]
    return Side(f"{count:,} images", [*bccli, "train", str(data), str(out), *fused], reset)
