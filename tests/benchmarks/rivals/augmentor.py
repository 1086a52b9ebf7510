"""Augmentor's pipeline of the CBIS-DDSM paper's table 5, with two workers.

Usage: python -m tests.benchmarks.rivals.augmentor threads|processes SOURCE OUT IMAGES
`threads` is Augmentor's own pool, `processes` two processes that each make half of the images, one by one.
PNGs are compressed at level 1, the fastest, which makes them as large as bccli's; Pillow's default takes
three times as long.
"""

import functools
import sys
from pathlib import Path

from PIL import Image

from tests.benchmarks.rivals.side_by_side import run_side_by_side

WORKERS = 2
LEVEL = 1


def sample(source: Path, out: Path, images: int, threads: bool) -> None:
    """Write so many augmented images of a folder's PNGs."""
    import Augmentor

    Image.Image.save = functools.partialmethod(Image.Image.save, compress_level=LEVEL)  # type: ignore[assignment]
    pipeline = Augmentor.Pipeline(str(source), str(out), save_format="PNG")
    pipeline.rotate(probability=0.95, max_left_rotation=15, max_right_rotation=15)
    pipeline.shear(probability=0.6, max_shear_left=25, max_shear_right=25)
    pipeline.histogram_equalisation(probability=0.6)
    pipeline.flip_left_right(probability=0.7)
    pipeline.random_brightness(probability=0.8, min_factor=0.6, max_factor=1.2)
    pipeline.zoom(probability=1.0, min_factor=1.0, max_factor=1.2)
    pipeline.sample(images, multi_threaded=threads)


def main(how: str, source: Path, out: Path, images: int) -> None:
    """Make the images in one way or the other."""
    if how == "threads":
        sample(source, out, images, True)
        return
    shares = [(source, out / str(number), images // WORKERS, False) for number in range(WORKERS)]
    run_side_by_side(sample, shares)


if __name__ == "__main__":
    _, _how, _source, _out, _images = sys.argv
    main(_how, Path(_source), Path(_out), int(_images))
