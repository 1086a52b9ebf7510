"""`bccli augment --policy table5` against Augmentor, two workers against one, and its memory."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from bccli.core.imaging.phantoms import LABELS, draw_phantom
from tests.benchmarks.comparing import PEAK, Outcome, Row, Side, compare, ratio_at_most, verdict
from tests.benchmarks.processes import measure

SIDE, ORIGINALS, IMAGES = 320, 40, 4_000
FEW, MANY, SMALL = 1_000, 60_000, 32
SIZE_APART = 0.1
"""How far the sizes of the PNG files of both sides may be apart."""


def children(
    rounds: int | None,
    folder: Path,
    note: Callable[[str], None],
    images: int = IMAGES,
    few: int = FEW,
    many: int = MANY,
) -> Iterator[Row]:
    """Yield a row per pool of Augmentor's, one for the size of the files, for workers and for memory."""
    raw, data = _make_regions(folder, SIDE)
    two = _augment("bccli, 2 workers", data, folder / "out2", images, 2)
    name = f"augment table5, {images:,} images of {SIDE}×{SIDE}"
    if importlib.util.find_spec("Augmentor") is None:
        note("children: Augmentor is not installed, nothing to compare with; pip install bccli[bench]")
    else:
        for how in ("processes", "threads"):
            rival = _augmentor(how, raw, folder / how, images)
            compared = compare(f"{name}, {how}", two, rival, rounds=rounds or 3, target=ratio_at_most(1 / 3))
            yield compared.row
        yield _sizes(compared, folder / "out2", folder / how)
    if importlib.util.find_spec("albumentations") is None:
        note("children: albumentations is not installed, nothing to compare with")
    else:
        rival = _albumentations(raw, folder / "albumentations", images)
        yield compare(f"{name}, processes", two, rival, rounds=rounds or 3).row
    twice = 2 * images  # so that starting and merging, which one process does, weigh less
    pair = [
        _augment(f"{workers} workers", data, folder / f"out{workers}", twice, workers) for workers in (2, 1)
    ]
    name = f"augment table5, {twice:,} images of {SIDE}×{SIDE}, workers"
    yield compare(name, *pair, rounds=rounds or 3, target=ratio_at_most(1 / 1.7)).row
    _, small = _make_regions(folder / "small", SMALL)
    sides = [
        _augment(f"{total:,} images", small, folder / f"memory{total}", total, 2) for total in (many, few)
    ]
    yield compare("memory of augment", *sides, rounds=1, quantity=PEAK, target=ratio_at_most(1.2)).row


def _make_regions(folder: Path, side: int) -> tuple[Path, Path]:
    """Phantom mammograms of one size, one folder per class, and a prepared dataset of them, all train."""
    raw, data = folder / "raw", folder / "data"
    for number in range(ORIGINALS):
        label = LABELS[number % 2]
        pixels, _ = draw_phantom(
            "mammography", label, seed=0, patient=number, slide=1, number=1, size=(side, side)
        )
        path = raw / label / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    command = sys.executable, "-m", "bccli", "prepare", "folder", str(raw), str(data), "--ratios", "1/0/0"
    measure(command)
    return raw, data


def _augment(name: str, data: Path, out: Path, images: int, workers: int) -> Side:
    command = [
        sys.executable, "-m", "bccli", "augment", str(data), str(out), "--policy", "table5",
        "--total", str(images), "--workers", str(workers),
    ]  # fmt: skip
    return Side(name, command, lambda: shutil.rmtree(out, ignore_errors=True))


def _augmentor(how: str, raw: Path, out: Path, images: int) -> Side:
    script = sys.executable, "-m", "tests.benchmarks.rivals.augmentor"
    command = [*script, how, str(raw), str(out), str(images)]
    return Side(f"Augmentor, {how}", command, lambda: shutil.rmtree(out, ignore_errors=True))


def _albumentations(raw: Path, out: Path, images: int) -> Side:
    script = sys.executable, "-m", "tests.benchmarks.rivals.albumented"
    command = [*script, str(raw), str(out), str(images)]
    return Side("Albumentations", command, lambda: shutil.rmtree(out, ignore_errors=True))


def _sizes(outcome: Outcome, ours: Path, theirs: Path) -> Row:
    """The mean size of the PNG files that both sides wrote last."""
    left, right = (_mean_size(folder) for folder in (ours / "images", theirs))
    return Row(
        name=f"{outcome.row.name}: size of the files",
        left=f"bccli: {left / 1000:.1f} kB",
        right=f"Augmentor: {right / 1000:.1f} kB",
        ratio=f"{left / right:.3f}",
        target=f"1 ± {SIZE_APART:g}",
        verdict=verdict(abs(left / right - 1) <= SIZE_APART),
        rounds=outcome.row.rounds,
    )


def _mean_size(folder: Path) -> float:
    sizes = [path.stat().st_size for path in folder.rglob("*.[pP][nN][gG]")]
    return sum(sizes) / len(sizes)
