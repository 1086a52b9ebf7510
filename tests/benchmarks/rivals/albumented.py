"""The operations of the CBIS-DDSM paper's table 5 with Albumentations and OpenCV, in two processes.

Usage: python -m tests.benchmarks.rivals.albumented SOURCE OUT IMAGES
PNGs are compressed at level 1, the fastest. Where rotating and shearing leave corners, the image is mirrored
into them, and not cut to the largest inner rectangle.
"""

import itertools
import sys
from pathlib import Path

from tests.benchmarks.rivals.side_by_side import run_side_by_side

WORKERS = 2
LEVEL = 1


def sample(source: Path, out: Path, images: int, seed: int) -> None:
    """Write so many augmented images of a folder's PNGs."""
    import albumentations
    import cv2

    cv2.setNumThreads(1)
    mirrored = {"border_mode": cv2.BORDER_REFLECT_101}
    augment = albumentations.Compose(
        [
            albumentations.Rotate(limit=(-15, 15), p=0.95, **mirrored),
            albumentations.Affine(shear={"x": (-25, 25), "y": (0, 0)}, p=0.6, **mirrored),
            albumentations.Affine(scale=(1.0, 1.2), p=1.0, **mirrored),
            albumentations.HorizontalFlip(p=0.7),
            albumentations.Equalize(p=0.6),
            albumentations.RandomBrightnessContrast(
                brightness_limit=(-0.4, 0.2), contrast_limit=(0.0, 0.0), p=0.8
            ),
        ],
        seed=seed,
    )
    out.mkdir(parents=True)
    files = sorted(source.rglob("*.png"))
    for number, file in zip(range(images), itertools.cycle(files), strict=False):
        pixels = augment(image=cv2.imread(str(file), cv2.IMREAD_COLOR))["image"]
        cv2.imwrite(str(out / f"{number:06}.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])


def main(source: Path, out: Path, images: int) -> None:
    """Make the images."""
    shares = [(source, out / str(number), images // WORKERS, number) for number in range(WORKERS)]
    run_side_by_side(sample, shares)


if __name__ == "__main__":
    _, _source, _out, _images = sys.argv
    main(Path(_source), Path(_out), int(_images))
