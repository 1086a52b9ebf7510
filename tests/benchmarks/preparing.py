"""`bccli prepare folder` against a script that does the same to pixels with Pillow, and the files of both."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.comparing import Outcome, Row, Side, compare, ratio_at_most, verdict
from tests.benchmarks.processes import measure

SIZE, IMAGES = "700x460", 400
SIZE_APART = 0.1
"""How much larger the PNG files may be than those of the other side."""


def preparing(
    rounds: int | None, folder: Path, note: Callable[[str], None], size: str = SIZE, images: int = IMAGES
) -> Iterator[Row]:
    """Yield a row of the time and one of the size of the files."""
    note("preparing: phantom slides as PNG, read again and again; Pillow makes neither splits nor groups")
    source = _make_source(folder, size, images)
    ours, theirs = folder / "bccli", folder / "pillow"
    bccli = [sys.executable, "-m", "bccli", "prepare", "folder", str(source), str(ours), "--workers", "2"]
    script = [sys.executable, "-m", "tests.benchmarks.rivals.pillow_prepare", str(source), str(theirs)]
    name = f"prepare folder, {images:,} images of {size.replace('x', '×')}"
    outcome = compare(
        name, _side("bccli, 2 workers", bccli, ours), _side("Pillow, 2 processes", script, theirs),
        rounds=rounds or 5, target=ratio_at_most(1),
    )  # fmt: skip
    yield outcome.row
    yield _sizes(outcome, ours / "images", theirs)


def _make_source(folder: Path, size: str, images: int) -> Path:
    """A folder per class of phantom slides."""
    data, source = folder / "data", folder / "raw"
    command = [sys.executable, "-m", "bccli", "prepare", "phantom", "histology", str(data)]
    measure([*command, "--count", str(images), "--size", size])
    files = sorted(data.glob("images/*/*.png"))
    for number, path in enumerate(files):
        target = source / ("benign", "malignant")[number % 2] / f"p{number // 8:03}_{number:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return source


def _side(name: str, command: list[str], out: Path) -> Side:
    return Side(name, command, lambda: shutil.rmtree(out, ignore_errors=True))


def _sizes(outcome: Outcome, ours: Path, theirs: Path) -> Row:
    """The bytes of the PNG files that both sides wrote last."""
    left, right = (sum(path.stat().st_size for path in out.rglob("*.png")) for out in (ours, theirs))
    return replace(
        outcome.row,
        name=f"{outcome.row.name}: size of the files",
        left=f"bccli: {left / 1e6:.1f} MB",
        right=f"Pillow: {right / 1e6:.1f} MB",
        ratio=f"{left / right:.3f}",
        target=f"≤ {1 + SIZE_APART:g}",
        verdict=verdict(left <= (1 + SIZE_APART) * right),
        measurements={},
    )
