"""JPEG 2000 of more than 8 bits: white is white, in colours, with transparency and in grey."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import decode, decode_deep

BRIGHT = np.linspace(0, 1, 40 * 30).reshape(30, 40)  # up to full white, where Pillow's rounding goes wrong


def saved(path: Path, samples: np.ndarray, bits: int, **options: object) -> Path:
    """The path, once the samples are there without loss."""
    options |= {"level": 0, "reversible": True, "codecformat": path.suffix[1:]}
    path.write_bytes(imagecodecs.jpeg2k_encode(samples, bitspersample=bits, **options))
    return path


def samples_of(bits: int, channels: int, *, signed: bool = False) -> np.ndarray:
    """Whole numbers of so many bits from the least to the greatest, each channel in another order."""
    levels = np.rint(BRIGHT * (2**bits - 1)).astype(np.int64)
    planes = [levels, levels[::-1], levels[:, ::-1], np.full_like(levels, 2**bits - 1)][:channels]
    stacked = planes[0] if channels == 1 else np.stack(planes, axis=2)
    return (stacked - 2 ** (bits - 1)).astype(np.int16) if signed else stacked.astype(np.uint16)


@pytest.mark.parametrize("ending", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_keep_their_upper_byte(tmp_path: Path, ending: str, bits: int, channels: int) -> None:
    samples = samples_of(bits, channels)
    path = saved(tmp_path / f"x.{ending}", samples, bits)
    assert (decode(path) == samples[:, :, :3] >> (bits - 8)).all()


def test_signed_colours_are_as_bright_as_unsigned_ones(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jp2", samples_of(12, 3, signed=True), 12)
    assert (decode(path) == samples_of(12, 3) >> 4).all()


def test_transparent_pixels_of_deep_colours_become_white(tmp_path: Path) -> None:
    samples = samples_of(16, 4)
    samples[:10, :, 3] = 0
    pixels = decode(saved(tmp_path / "x.jp2", samples, 16))
    assert (pixels[:10] == 255).all()
    assert (pixels[10:] == samples[10:, :, :3] >> 8).all()


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_deep_grey_keeps_its_order(tmp_path: Path, bits: int, signed: bool) -> None:
    pixels = decode_deep(saved(tmp_path / "x.jp2", samples_of(bits, 1, signed=signed), bits))
    assert pixels.dtype == np.uint16
    assert (np.diff(pixels.ravel().astype(np.int64)) >= 0).all()
    assert len(np.unique(pixels)) == len(np.unique(samples_of(bits, 1)))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jp2", samples_of(16, 3), 16)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ImageError, match="damaged"):
        decode(path)
