"""What people write for want of `bccli prepare`: Pillow reads each image, and writes its pixels and a table.

Usage: python -m tests.benchmarks.rivals.pillow_prepare SOURCE OUT
Two processes; PNGs at level 1, the fastest. No split, no groups of patients, no search for copies.
"""

import csv
import hashlib
import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

WORKERS = 2
LEVEL = 1


def convert(source: Path, out: Path, path: Path) -> tuple[str, str, str]:
    """Write one image; returns its name, its class and the hash of its pixels."""
    name = path.relative_to(source)
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    pixels.save(out / name, compress_level=LEVEL)
    return str(name), name.parts[0], hashlib.sha256(np.asarray(pixels).tobytes()).hexdigest()


def main(source: Path, out: Path) -> None:
    """Write all images and a table of them."""
    paths = sorted(source.rglob("*.png"))
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        rows = pool.map(partial(convert, source, out), paths)
    with (out / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "sha256"), *rows])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
