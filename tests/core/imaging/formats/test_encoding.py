"""PNGs that bccli writes: whoever reads them finds the pixels that went in."""

import io
from collections.abc import Callable

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bccli.core.imaging.formats import encoding
from bccli.core.imaging.formats.encoding import encode_png
from bccli.core.imaging.formats.png import is_bare

SIDES = st.integers(1, 40)
COLOURS = SIDES.flatmap(lambda height: SIDES.flatmap(lambda width: arrays(np.uint8, (height, width, 3))))
GREYS = SIDES.flatmap(lambda height: SIDES.flatmap(lambda width: arrays(np.uint8, (height, width))))


@pytest.mark.parametrize("encode", [encode_png, encoding._by_pillow])
@given(COLOURS | GREYS)
def test_other_readers_find_the_pixels_that_went_in(
    encode: Callable[[np.ndarray], bytes], pixels: np.ndarray
) -> None:
    data = encode(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == ("L" if pixels.ndim == 2 else "RGB")
        image.verify()
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(imagecodecs.png_decode(data).reshape(pixels.shape), pixels)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(by_opencv if pixels.ndim == 2 else by_opencv[..., ::-1], pixels)


def test_strides_do_not_matter() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 6), np.uint8)[::3, ::-1, ::2]
    assert np.array_equal(imagecodecs.png_decode(encode_png(pixels)), pixels)


def test_our_own_reader_knows_the_files_as_ours() -> None:
    for pixels in (np.zeros((5, 7), np.uint8), np.zeros((5, 7, 3), np.uint8)):
        assert is_bare(encode_png(pixels), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((5, 7), np.uint8), np.zeros((5, 7, 3), np.uint8)])
def test_large_images_and_builds_without_libdeflate_are_left_to_pillow(
    monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    monkeypatch.setattr(encoding, "_LARGEST_IN_ONE_CALL", pixels.nbytes - 1)
    large = encode_png(pixels)
    monkeypatch.undo()

    def missing(*_: object, **__: object) -> bytes:
        raise imagecodecs.DelayedImportError("deflate_encode")

    monkeypatch.setattr(imagecodecs, "deflate_encode", missing)
    assert encode_png(pixels) == large == encoding._by_pillow(pixels)
