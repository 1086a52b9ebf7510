"""Regions of whole mammograms: bccli against the plain OpenCV calls of the CBIS-DDSM paper, and memory."""

import csv
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from bccli.core.imaging.formats.decoding import decode
from tests.benchmarks.comparing import PEAK, Row, Side, Target, compare, ratio_at_most, verdict
from tests.benchmarks.stain import INSIDE
from tests.conftest import REAL_DATA
from tests.core.imaging.formats.test_dicom import dicom

SIZE = 2744, 4704
"""Width and height of the mammogram in the paper's figure 3."""
FILMS = 8
MOST_MEMORY = 1.5e9


def regions(
    rounds: int | None, folder: Path, note: Callable[[str], None], films: int = FILMS
) -> Iterator[Row]:
    """Yield three rows: the time per mammogram, whether pixels are equal, and the memory of two workers."""
    source = folder / "films"
    _make_films(source, films, note)
    script = [sys.executable, "-m", "tests.benchmarks.rivals.regions"]
    results = {name: folder / f"{name}.npy" for name in ("bccli", "opencv")}
    left, right = (
        Side(title, [*script, name, str(source), str(results[name])])
        for title, name in (("bccli", "bccli"), ("plain OpenCV", "opencv"))
    )
    name = f"region of a mammogram, DICOM of {SIZE[0]}×{SIZE[1]}"
    yield compare(name, left, right, rounds=rounds or 5, quantity=INSIDE, target=ratio_at_most(1 / 1.5)).row
    ours, theirs = (np.load(path) for path in results.values())
    differing = int((ours != theirs).sum())
    yield Row(
        name=f"{name}: pixels that differ",
        left=f"{differing:,}",
        right=f"of {ours.size:,}",
        ratio="",
        target="0",
        verdict=verdict(differing == 0),
    )
    two, one = (_prepare(source, folder / f"data{workers}", workers) for workers in (2, 1))
    limit = Target("left ≤ 1.5 GB", lambda left, right: left <= MOST_MEMORY)
    name = f"prepare csv, regions of {films} mammograms: memory"
    yield compare(name, two, one, rounds=1, quantity=PEAK, target=limit).row


def _prepare(source: Path, out: Path, workers: int) -> Side:
    command = [
        sys.executable, "-m", "bccli", "prepare", "csv", str(source / "films.csv"), str(out),
        *("--clahe", "--roi", "crop", "--size", "328x328", "--center-crop", "320x320", "--denoise"),
        *("--workers", str(workers), "--split-by", "official"),
    ]  # fmt: skip
    return Side(f"{workers} workers", command, lambda: shutil.rmtree(out, ignore_errors=True))


def _make_films(source: Path, films: int, note: Callable[[str], None]) -> None:
    """Write 16-bit DICOM with a mask each, and a table of so many rows that two workers are started.

    Real films are enlarged where there are some, otherwise smooth noise stands for them.
    """
    source.mkdir(parents=True)
    real = sorted(path for path in (REAL_DATA / "mini-ddsm").rglob("*.jpg") if "Mask" not in path.name)
    if not real:
        note(f"regions: no real films at {REAL_DATA / 'mini-ddsm'}; smooth noise instead")
    rng = np.random.default_rng(0)
    for number in range(films):
        seed = decode(real[number])[:, :, 0] if real else rng.integers(0, 256, (120, 70)).astype(np.uint8)
        film = cv2.resize(seed, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.uint16) * 230
        film += rng.integers(0, 2000, film.shape).astype(np.uint16)
        mask = np.zeros(film.shape, np.uint8)
        place = (int(rng.integers(300, SIZE[0] - 300)), int(rng.integers(300, SIZE[1] - 300)))
        axes = (int(rng.integers(150, 200)), int(rng.integers(150, 200)))
        cv2.ellipse(mask, place, axes, 0, 0, 360, 255, -1)
        (source / f"{number}.dcm").write_bytes(dicom(film))
        (source / f"{number}_mask.dcm").write_bytes(dicom(mask))
    with (source / "films.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split", "mask"])
        for row in range(200):  # below that, prepare works in one process
            number = row % films
            link = source / f"link{row}.dcm"
            link.symlink_to(source / f"{number}.dcm")
            split = ("train", "val", "test")[number % 3]
            writer.writerow([link.name, "ab"[row % 2], split, f"{number}_mask.dcm"])
