"""Files to pixels, exactly."""

import contextlib
import io
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import MAX_BYTES, MAX_PIXELS, SUFFIXES, decode

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes what the decoder set up

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


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_as_zero_is_inverted_at_any_depth(tmp_path: Path, order: str) -> None:
    for pixels, expected in ((DEEP, STRETCHED), (GREY, GREY), (DEEP.astype(np.float32), STRETCHED)):
        least = -pixels if pixels.dtype.kind == "f" else np.invert(pixels)
        tifffile.imwrite(tmp_path / "x.tif", least, photometric="miniswhite", byteorder=order)
        same(tmp_path / "x.tif", grey(expected))


def test_what_neither_library_can_turn_into_rgb_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.ones((2, 2), np.complex64))
    with pytest.raises(ImageError, match="pixels of type complex64"):
        decode(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "y.tif", COLOUR.astype(np.uint16), photometric="cielab")
    with pytest.raises(ImageError, match="colours of an unusual kind"):
        decode(tmp_path / "y.tif")


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


def test_pixels_are_read_only_whatever_the_format(tmp_path: Path) -> None:
    for number, pixels in enumerate((COLOUR, GREY, DEEP)):
        path = written(Image.fromarray(pixels), tmp_path / f"{number}.png")
        assert not decode(path).flags.writeable


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_other_formats_under_a_wrong_name_are_read_while_they_hold_one_image(
    tmp_path: Path, kind: str
) -> None:
    image = Image.fromarray(grey(np.full((4, 5), 200, np.uint8)))
    image.save(tmp_path / "x.png", kind, lossless=True)
    same(tmp_path / "x.png", np.full((4, 5, 3), 200, np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_animated_images_are_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.fromarray(pixels) for pixels in (COLOUR, 255 - COLOUR, COLOUR // 2)]
    frames[0].save(tmp_path / "x.png", kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"^is animated \(3 frames\)"):
        decode(tmp_path / "x.png")


def test_of_a_jpeg_with_previews_the_first_image_counts(tmp_path: Path) -> None:
    first, preview = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "MPO"
        assert image.n_frames == 2
        same(tmp_path / "x.jpg", np.array(image))


def test_a_jpeg_is_decoded_at_its_full_size(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    assert decode(written(Image.fromarray(pixels), tmp_path / "x.jpg")).shape == pixels.shape


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
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_damaged_data_is_refused_with_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match=reason) as caught:
        decode(tmp_path / "x.png")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_text_that_grows_is_refused(tmp_path: Path) -> None:
    data = png()
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    (tmp_path / "x.png").write_bytes(data[:33] + text + data[33:])
    with pytest.raises(ImageError, match=r"(?i)^is damaged .*too large"):
        decode(tmp_path / "x.png")


SIDE = 50_000


def tiff_header(width: int, height: int, *, bits: int, big: bool = False) -> bytes:
    """A TIFF of grey pixels, white as zero, with a single byte of data; deep ones are left to tifffile."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 0, 273: 8, 277: 1, 278: height, 279: 1}
    if big:
        entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags.items())
        return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags)) + entries + bytes(8)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def huge_headers() -> dict[str, bytes]:
    """Little files that promise 50,000 × 50,000 pixels."""
    jpeg, gif = io.BytesIO(), io.BytesIO()
    Image.fromarray(COLOUR).save(jpeg, "JPEG")
    Image.fromarray(GREY).save(gif, "GIF")
    start = jpeg.getvalue().index(b"\xff\xc0") + 5
    size = struct.pack(">HH", SIDE, SIDE)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))),
        "jpeg": jpeg.getvalue()[:start] + size + jpeg.getvalue()[start + 4 :],
        "gif": gif.getvalue()[:6] + struct.pack("<HH", SIDE, SIDE) + gif.getvalue()[10:],
        "bmp": b"BM" + bytes(12) + struct.pack("<IIIHH", 40, SIDE, SIDE, 1, 24) + bytes(24),
        "pgm": b"P5 50000 50000 255\n\0",
        "text pgm": b"P2 50000 50000 255\n0 1 2",
        "tiff": tiff_header(SIDE, SIDE, bits=8),
        "deep tiff": tiff_header(SIDE, SIDE, bits=16),
        "strange tiff": tiff_header(SIDE, SIDE, bits=64),
        "big tiff": tiff_header(SIDE, SIDE, bits=8, big=True),
        "strange big tiff": tiff_header(SIDE, SIDE, bits=64, big=True),
    }


COST = """
import resource, sys, time
from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import decode
for round in range(2):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for name in sys.argv[1:]:
        try:
            decode(name)
        except ImageError as error:
            print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - started)
"""


def fresh(program: str, *arguments: object) -> list[str]:
    """The lines that a program prints in a Python of its own, which must keep its stderr clean."""
    command = [sys.executable, "-W", "always", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_headers_that_promise_too_much_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in huge_headers()]
    for path, data in zip(paths, huge_headers().values(), strict=True):
        path.write_bytes(data)
    *reasons, cost = fresh(COST, *paths)
    expected = f"is too large (50000×50000 pixels; the limit is {MAX_PIXELS:,})"
    assert reasons == [expected] * 2 * len(paths)
    kibibytes, seconds = map(float, cost.split())
    assert kibibytes < 20_000
    assert seconds < 1


def test_kinds_that_need_more_room_have_a_lower_limit(tmp_path: Path) -> None:
    side = 9_500
    jpeg = io.BytesIO()
    Image.fromarray(COLOUR).save(jpeg, "JPEG", progressive=True)
    start = jpeg.getvalue().index(b"\xff\xc2") + 5
    size = struct.pack(">HH", side, side)
    webp = io.BytesIO()
    Image.fromarray(COLOUR).save(webp, "WEBP", lossless=True)
    start_of_size = webp.getvalue().index(b"VP8L") + 9
    bits = struct.pack("<I", (side - 1) | (side - 1) << 14)
    kinds = {
        "jpeg": jpeg.getvalue()[:start] + size + jpeg.getvalue()[start + 4 :],
        "webp": webp.getvalue()[:start_of_size] + bits + webp.getvalue()[start_of_size + 4 :],
        "deep tiff": tiff_header(side, side, bits=64),
    }
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
    *reasons, cost = fresh(COST, *(tmp_path / name for name in kinds))
    assert len(reasons) == 2 * len(kinds)
    for reason in reasons:
        assert re.match(r"is too large \(9500×9500 pixels; the limit is [\d,]+\)", reason), reason
    assert float(cost.split()[0]) < 20_000


ROOM = """
import resource, sys
from bccli.core.imaging.formats.decoding import decode_deep
decode_deep(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_deep(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
WIDE = np.tile(np.arange(256, dtype=np.uint8), (2048, 16))  # 2048 × 4096
SPACIOUS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "grey.png": Image.fromarray,
    "deep.png": lambda grey: Image.fromarray(grey.astype(np.uint16) * 200),
    "colour.png": lambda grey: Image.fromarray(grey).convert("RGB"),
    "transparent.png": lambda grey: Image.fromarray(grey).convert("RGBA"),
    "palette.png": lambda grey: Image.fromarray(grey).quantize(16),
    "bits.png": lambda grey: Image.fromarray(grey > 100),
    "colour.bmp": lambda grey: Image.fromarray(grey).convert("RGB"),
    "colour.jpg": lambda grey: Image.fromarray(grey).convert("RGB"),
    "print.jpg": lambda grey: Image.fromarray(grey).convert("CMYK"),
    "colour.tif": lambda grey: Image.fromarray(grey).convert("RGB"),
    "float.tif": lambda grey: Image.fromarray(grey.astype(np.float32)),
    "grey.gif": Image.fromarray,
}


@pytest.mark.parametrize("name", SPACIOUS)
def test_decoding_takes_no_more_room_than_the_limit_is_made_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "small").mkdir()
    whole, small = tmp_path / name, tmp_path / "small" / name
    SPACIOUS[name](WIDE).save(whole)
    SPACIOUS[name](WIDE[:8]).save(small)
    (kibibytes,) = fresh(ROOM, small, whole)
    assert float(kibibytes) * 1024 < 8 * WIDE.size + whole.stat().st_size + 50e6  # strips take those 50 MB


def test_what_is_decoded_in_strips_is_what_it_is_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [SPACIOUS[name](WIDE[:64, :300]) for name in SPACIOUS]
    paths = [written(image, tmp_path / name) for image, name in zip(images, SPACIOUS, strict=True)]
    tifffile.imwrite(tmp_path / "deep.tif", COLOUR.astype(np.uint16) * 250, photometric="rgb")
    paths.append(tmp_path / "deep.tif")
    paths.append(written(images[4], tmp_path / "clear.png", transparency=3))
    at_once = [decode(path) for path in paths]
    monkeypatch.setattr("bccli.core.imaging.formats.strips._PIXELS", 1000)
    for path, expected in zip(paths, at_once, strict=True):
        assert np.array_equal(decode(path), expected), path


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "x.tif", "wb") as file:
        file.truncate(MAX_BYTES + 1)  # (a hole: takes no room)
    with pytest.raises(ImageError, match=r"is too large .*bytes"):
        decode(tmp_path / "x.tif")


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(image: Image.Image) -> None:
        raise MemoryError

    path = written(Image.fromarray(COLOUR), tmp_path / "x.bmp")
    monkeypatch.setattr(Image.Image, "__array_interface__", property(exhausted))
    with pytest.raises(ImageError, match="needs more memory"):
        decode(path)


@pytest.mark.parametrize("kind", [np.uint8, np.float16])  # Pillow reads the one, tifffile the other
@pytest.mark.parametrize("form", [{"rowsperstrip": 16}, {"tile": (16, 16)}])
def test_strips_and_tiles_that_are_missing_are_not_made_up(tmp_path: Path, kind: type, form: dict) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RNG.integers(0, 256, (64, 40)).astype(kind), **form)
    assert decode(path).shape == (64, 40, 3)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(640)
    with pytest.raises(ImageError, match="strips or tiles are missing"):
        decode(path)


def encoded(kind: str, pixels: np.ndarray, **options: object) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


SMOOTH = np.add.outer(np.arange(24), np.arange(30)).astype(np.uint8)
WHOLE = {
    "png": png(),
    "jpeg": encoded("JPEG", SMOOTH),
    "progressive jpeg": encoded("JPEG", grey(SMOOTH), progressive=True),
    "tiff": encoded("TIFF", grey(SMOOTH)),
    "lzw tiff": encoded("TIFF", SMOOTH, compression="tiff_lzw"),
    "deflate tiff": encoded("TIFF", grey(SMOOTH), compression="tiff_deflate"),
    "bmp": encoded("BMP", grey(SMOOTH)),
    "pgm": encoded("PPM", SMOOTH),
    "text pgm": b"P2 3 4 255 " + b" ".join(b"%d" % value for value in range(100, 112)),
}


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), wrong=st.binary(min_size=1, max_size=4))
def test_a_file_cut_or_damaged_anywhere_is_refused_or_whole(
    tmp_path: Path, kind: str, share: float, wrong: bytes
) -> None:
    data = WHOLE[kind]
    place = int(share * len(data))
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "cut").write_bytes(data[:place])
    (tmp_path / "changed").write_bytes(data[:place] + wrong + data[place + len(wrong) :])
    with contextlib.suppress(ImageError):
        assert decode(tmp_path / "cut").shape == decode(tmp_path / "whole").shape
    with contextlib.suppress(ImageError):
        assert decode(tmp_path / "changed").shape[2] == 3


def test_nothing_is_printed_about_damaged_files(tmp_path: Path) -> None:
    paths = []
    for number, data in enumerate(WHOLE.values()):
        for share in (0.1, 0.5, 0.9):
            place = int(share * len(data))
            for damaged in (data[:place], data[:place] + b"\x55\xaa\x55" + data[place + 3 :]):
                paths.append(tmp_path / f"{number}-{len(paths)}")
                paths[-1].write_bytes(damaged)
    *reasons, cost = fresh(COST, *paths)
    assert reasons
    assert float(cost.split()[1]) < 2


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
    contract = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".dcm", ".dicom"}
    assert contract <= SUFFIXES


# How little it takes


def test_common_formats_need_only_numpy_and_pillow(tmp_path: Path) -> None:
    paths = [written(Image.fromarray(COLOUR), tmp_path / f"x.{ending}") for ending in ("jpg", "tif", "bmp")]
    (tmp_path / "bad.png").write_bytes(png()[:900])
    (tmp_path / "none.png").write_bytes(b"hello")
    program = COST + "\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    modules = set(fresh(program, *paths, tmp_path / "bad.png", tmp_path / "none.png")[-1].split())
    heavy = "pandas skimage sklearn matplotlib scipy tifffile imagecodecs pydicom cv2 tensorflow keras"
    assert {"numpy", "PIL"} <= modules
    assert modules & set(heavy.split()) == set()


def test_a_plain_png_needs_imagecodecs_besides_and_little_of_it(tmp_path: Path) -> None:
    path = written(Image.fromarray(COLOUR), tmp_path / "x.png")
    program = COST + "\nprint(*sys.modules)"
    modules = set(fresh(program, path)[-1].split())
    assert "imagecodecs._png" in modules
    assert modules & {"imagecodecs._jpeg8", "tifffile", "pydicom", "cv2"} == set()


def test_a_file_of_no_known_format_loads_no_further_plug_ins(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hello")
    program = COST + "\nprint(*(name for name in sys.modules if name.endswith('ImagePlugin')))"
    kinds = "Avif", "Bmp", "Gif", "Jpeg2K", "Jpeg", "Png", "Ppm", "Tiff", "WebP"
    assert set(fresh(program, tmp_path / "x.png")[-1].split()) == {f"PIL.{kind}ImagePlugin" for kind in kinds}
