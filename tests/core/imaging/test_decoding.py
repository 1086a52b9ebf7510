"""Files to pixels, exactly."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.decoding import MAX_PIXELS, SUFFIXES, decode

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = np.array([[1000, 1510], [2020, 2030]], np.uint16)
STRETCHED = np.array([[0, 126], [253, 255]], np.uint8)  # (v - 1000) / 1030 · 255, rounded


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey as RGB."""
    return np.stack([pixels] * 3, axis=2)


def written(image: Image.Image, path: Path, **options: object) -> Path:
    """The path, once the image is there."""
    image.save(path, **options)
    return path


def same(path: Path, expected: np.ndarray) -> None:
    """Assert the exact pixels and their kind."""
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == expected.shape
    assert (pixels == expected).all()


@pytest.mark.parametrize("ending", ["png", "tif", "TIFF", "bmp", "ppm"])
def test_colour_of_8_bits_is_kept(tmp_path: Path, ending: str) -> None:
    same(written(Image.fromarray(COLOUR), tmp_path / f"x.{ending}"), COLOUR)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "pgm"])
def test_grey_of_8_bits_is_kept_and_not_stretched(tmp_path: Path, ending: str) -> None:
    pixels = GREY // 2 + 20
    same(written(Image.fromarray(pixels), tmp_path / f"x.{ending}"), grey(pixels))


def test_a_jpeg_is_what_pillow_says(tmp_path: Path) -> None:
    path = written(Image.fromarray(COLOUR), tmp_path / "x.jpg", quality=95)
    same(path, np.array(Image.open(path)))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_16_bits_is_stretched_by_its_own_range(tmp_path: Path, ending: str) -> None:
    same(written(Image.fromarray(DEEP), tmp_path / f"x.{ending}"), grey(STRETCHED))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_byte_order_of_a_tiff_does_not_matter(tmp_path: Path, order: str) -> None:
    tifffile.imwrite(tmp_path / "x.tif", DEEP, byteorder=order)
    same(tmp_path / "x.tif", grey(STRETCHED))


@pytest.mark.parametrize("maximum", [65535, 4095])
def test_a_deep_pgm_is_stretched_like_the_others(tmp_path: Path, maximum: int) -> None:
    """Pillow scales by the header's maximum; the range of the pixels undoes that, to within rounding."""
    data = f"P5\n2 2\n{maximum}\n".encode() + DEEP.astype(">u2").tobytes()
    (tmp_path / "x.pgm").write_bytes(data)
    difference = decode(tmp_path / "x.pgm").astype(int) - grey(STRETCHED)
    assert abs(difference).max() <= (maximum != 65535)


def test_a_text_pgm_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_text("P2\n# comment\n3 1\n255\n0 7 255\n")
    same(tmp_path / "x.pgm", grey(np.array([[0, 7, 255]], np.uint8)))


def test_signed_32_bit_and_float_grey_are_stretched(tmp_path: Path) -> None:
    for number, kind in enumerate((np.int32, np.float32)):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.array([[-5, 0], [0, 5]], kind))
        same(tmp_path / f"{number}.tif", grey(np.array([[0, 128], [128, 255]], np.uint8)))


def test_a_flat_deep_image_becomes_black(tmp_path: Path) -> None:
    same(
        written(Image.fromarray(np.full((2, 3), 999, np.uint16)), tmp_path / "x.png"),
        np.zeros((2, 3, 3), np.uint8),
    )


def test_grey_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.array([[np.nan, 1]], np.float32))
    with pytest.raises(ImageError, match="not numbers"):
        decode(tmp_path / "x.tif")


def test_colour_of_16_bits_keeps_its_upper_byte(tmp_path: Path) -> None:
    deep = COLOUR.astype(np.uint16) * 256 + 200
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb")
    same(tmp_path / "x.tif", COLOUR)
    tifffile.imwrite(tmp_path / "y.tif", np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
    same(tmp_path / "y.tif", COLOUR)


def test_a_big_tiff_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", COLOUR, photometric="rgb", bigtiff=True)
    same(tmp_path / "x.tif", COLOUR)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits"])
def test_compressed_tiffs_are_read(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(tmp_path / "x.tif", COLOUR, photometric="rgb", compression=compression)
    same(tmp_path / "x.tif", COLOUR)


def test_of_several_pages_the_first_counts(tmp_path: Path) -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    same(written(first, tmp_path / "x.tif", save_all=True, append_images=[second]), COLOUR)


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = np.array([[True, False], [False, True]])
    for ending in ("png", "tif", "bmp"):
        same(
            written(Image.fromarray(bits), tmp_path / f"x.{ending}"),
            grey(np.where(bits, 255, 0).astype(np.uint8)),
        )


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[1, 2, 3], [0, 255, 0]]], np.uint8)
    same(written(image, tmp_path / "x.png"), expected)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    for mode, opaque in (("RGBA", [10, 20, 30]), ("LA", [10, 10, 10])):
        channels = [10, 20, 30] if mode == "RGBA" else [10]
        pixels = np.array([[[*channels, 255], [*channels, 0]]], np.uint8)
        same(written(Image.fromarray(pixels), tmp_path / "x.png"), np.array([[opaque, [255] * 3]], np.uint8))


@pytest.mark.parametrize(("mode", "key"), [("P", 0), ("L", 0), ("RGB", (0, 0, 0))])
def test_a_transparent_colour_becomes_white(tmp_path: Path, mode: str, key: object) -> None:
    image = Image.fromarray(np.array([[0, 200]], np.uint8), "L").convert(mode)
    path = written(image, tmp_path / "x.png", transparency=key)
    same(path, np.array([[[255] * 3, [200] * 3]], np.uint8))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    expected = np.array([[[255, 255, 255], [0, 255, 255], [0, 0, 0]]], np.uint8)
    same(written(image, tmp_path / "x.tif"), expected)
    assert abs(decode(written(image, tmp_path / "x.jpg", quality=100)).astype(int) - expected).max() < 40


def test_the_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    same(tmp_path / "x.jpg", COLOUR)


# What cannot be read


def png() -> bytes:
    """A PNG that has several blocks to lose."""
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "not an image"),
        (b"\0" * 1000, "not an image"),
        (png()[:20], "is not an image|is damaged"),
        (png()[:3000], "is damaged .*truncated"),
        (png()[:100] + bytes(200) + png()[300:], "is damaged"),
        (b"II*\0" + bytes(20), "is damaged|not an image"),
        (b"MM\0*" + b"\xff" * 20, "is damaged|not an image"),
        (b"P5\n99999 99999\n255\n", "is too large"),
        (b"P5\n2 2\n255\n\0", "is damaged"),
    ],
)
def test_damaged_data_is_refused_with_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match=reason) as caught:
        decode(tmp_path / "x.png")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_header_that_promises_too_much_costs_no_memory(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    (tmp_path / "x.bmp").write_bytes(
        b"BM" + bytes(12) + struct.pack("<IIIHH", 40, side + 1, side + 1, 1, 24) + bytes(24)
    )
    with pytest.raises(ImageError, match="too large"):
        decode(tmp_path / "x.bmp")


def test_paths_that_lead_to_no_file_are_refused(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "gone.png", "does not exist"),
        (tmp_path, "is a directory"),
        (f"{tmp_path}/a\0b.png", "no file can have"),
        (f"{tmp_path}/{'x' * 300}.png", "too long"),
    ):
        with pytest.raises(ImageError, match=reason):
            decode(path)


def test_the_endings_are_those_of_the_contract() -> None:
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm"} <= SUFFIXES
