"""Images on which there is nothing to be seen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccli.core.imaging.blankness import blankness_of
from bccli.core.imaging.formats.decoding import decode_deep

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (300, 200, 3), dtype=np.uint8)


def flat(value: int, *shape: int, kind: type = np.uint8) -> np.ndarray:
    """An image of one value."""
    return np.full(shape or (300, 200), value, kind)


def dotted(pixels: np.ndarray, value: int, count: int) -> np.ndarray:
    """The same with a few other pixels somewhere."""
    changed = pixels.copy()
    places = RNG.choice(changed.shape[0] * changed.shape[1], count, replace=False)
    changed.reshape(-1, *changed.shape[2:])[places] = value
    return changed


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (flat(0), "all black"),
        (flat(255), "all white"),
        (flat(255, 9, 9, 3), "all white"),
        (flat(77), "all of one colour"),
        (flat(77, 1, 1, 3), "all of one colour"),
        (np.tile(np.array([[[9, 8, 200]]], np.uint8), (5, 5, 1)), "all of one colour"),
        (flat(65535, kind=np.uint16), "all of one colour"),
        (flat(-5, kind=np.float32), "all of one colour"),
        (PICTURE // 9, "nearly black"),
        (PICTURE // 16, "nearly black"),
        (255 - PICTURE // 20, "nearly white"),
        (dotted(flat(255), 0, 50), "nearly white"),
        (dotted(flat(3), 255, 50), "nearly black"),
        (dotted(flat(1000, kind=np.uint16), 9000, 50), "nearly black"),
        (dotted(flat(-9, kind=np.int32), -900, 50), "nearly white"),
        (dotted(flat(255), 0, 600), ""),
        (dotted(flat(1000, kind=np.uint16), 9000, 600), ""),
        (PICTURE, ""),
        (PICTURE[:, :, 0], ""),
        (PICTURE[:, :, 0] // 4, ""),
        (PICTURE[:, :, 0].astype(np.uint16) // 16, ""),
        (PICTURE[:, :, 0].astype(np.float32) / 1e6, ""),
        (PICTURE[:1, :2], ""),
    ],
)
def test_what_is_blank_is_known(pixels: np.ndarray, expected: str) -> None:
    assert blankness_of(pixels) == expected


@pytest.mark.parametrize("place", [0, 1, 149, 299])
def test_a_single_row_makes_a_picture(place: int) -> None:
    pixels = flat(0)
    pixels[place] = 255
    assert blankness_of(pixels) == ""


def save_png(pixels: np.ndarray, path: Path) -> None:
    """A PNG of 16-bit colours."""
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(pixels))


@pytest.mark.parametrize(
    "save", [save_png, lambda pixels, path: tifffile.imwrite(path, pixels, photometric="rgb")]
)
def test_colours_that_use_12_of_16_bits_are_nearly_black_and_not_guessed_at(
    tmp_path: Path, save: Callable[[np.ndarray, Path], None]
) -> None:
    deep = RNG.integers(0, 4096, (30, 20, 3)).astype(np.uint16)
    save(deep, tmp_path / "x")
    found = decode_deep(tmp_path / "x")
    assert (found == deep >> 8).all()
    assert blankness_of(found) == "nearly black"


def test_what_is_transparent_all_over_is_all_white(tmp_path: Path) -> None:
    pixels = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert blankness_of(decode_deep(tmp_path / "x.png")) == "all white"
