"""Prepared images as PNG: other programs see the same pixels, and the same pixels give the same bytes."""

import io
import struct
import subprocess
import sys
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bccli.core.imaging.formats import strips
from bccli.core.imaging.formats.encoding import encode_png
from bccli.core.imaging.formats.png import decode_png

SHAPES = [(1, 1), (1, 1, 3), (1, 300, 3), (300, 1), (97, 61), (97, 61, 3), (460, 700, 3)]


def textured(shape: tuple[int, ...]) -> np.ndarray:
    """Noise over a slope."""
    noise = np.random.default_rng(0).integers(0, 9, shape)
    return (noise + np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))).astype(np.uint8)


def by_pillow(data: bytes) -> np.ndarray:
    """The pixels that Pillow sees."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def by_opencv(data: bytes) -> np.ndarray:
    """The pixels that OpenCV sees, in RGB."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found if found.ndim == 2 else found[..., ::-1]


READERS = {"pillow": by_pillow, "opencv": by_opencv, "libpng": imagecodecs.png_decode, "bccli": decode_png}


def check_all_see(pixels: np.ndarray, data: bytes) -> None:
    """Whether all readers see these pixels."""
    for reader in READERS.values():
        found = reader(data)
        assert found is not None
        assert found.dtype == np.uint8
        assert np.array_equal(found, pixels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("content", ["texture", "black", "noise"])
def test_all_readers_see_the_pixels(shape: tuple[int, ...], content: str) -> None:
    pixels = {
        "texture": textured(shape),
        "black": np.zeros(shape, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, shape, np.uint8),
    }[content]
    check_all_see(pixels, encode_png(pixels))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_the_pixels_are_all_readers_see_them(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])))
    pixels = data.draw(arrays(np.uint8, shape if shape[2] == 3 else shape[:2]))
    check_all_see(pixels, encode_png(pixels))


def test_views_are_written_as_they_look() -> None:
    pixels = textured((40, 50, 3))
    for view in (pixels[::-1, ::2], pixels[..., ::-1], pixels[..., 0], pixels.transpose(1, 0, 2)):
        check_all_see(view, encode_png(view))


@pytest.mark.parametrize("shape", [(97, 61), (97, 61, 3), (1, 200, 3)])
def test_a_large_image_is_written_strip_by_strip(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(strips, "_PIXELS", 61 * 4)
    check_all_see(textured(shape), encode_png(textured(shape)))


def test_each_chunk_is_sound() -> None:
    data, position, kinds = encode_png(textured((97, 61, 3))), 8, []
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        content = data[position + 4 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(content),)
        kinds.append(content[:4])
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_another_process_writes_the_same_bytes() -> None:
    program = (
        "import sys; from tests.core.imaging.formats.test_encoding import encode_png, textured;"
        "sys.stdout.buffer.write(encode_png(textured((97, 61, 3))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == encode_png(textured((97, 61, 3))) == encode_png(textured((97, 61, 3)))


def test_grey_in_three_channels_takes_hardly_more_room_than_in_one() -> None:
    grey = textured((300, 300))
    assert len(encode_png(np.stack([grey] * 3, axis=2))) < 2 * len(encode_png(grey))


def test_the_same_pixels_give_the_same_bytes_whatever_was_compressed_before() -> None:
    """Not even what earlier images left in memory changes them, of whatever content and size these were."""
    rng = np.random.default_rng(2)
    masks = [np.where(rng.random((24, 32)) < share, 255, 0).astype(np.uint8) for share in (0, 0.01, 0.5)]
    slides = [textured((side, side + 7, 3)) for side in (8, 32, 97, 200)]
    images = [*masks, *slides, np.zeros((300, 200, 3), np.uint8)]
    expected = [encode_png(image) for image in images]
    for _ in range(200):
        for index in rng.permutation(len(images)).tolist():
            assert encode_png(images[index]) == expected[index]
