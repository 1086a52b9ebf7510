"""JPEG files: whole ones to the pixel as Pillow has them, none that is cut or damaged."""

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.formats.jpeg import MOST_LEFT, check_jpeg
from tests.core.imaging.formats.test_dicom import dicom

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

END = b"\xff\xd9"


def picture(width: int = 160, height: int = 120, seed: int = 0) -> np.ndarray:
    """Soft blobs with some grain, as on a slide."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(3)).filter(ImageFilter.SHARPEN))


PICTURE = picture()


def pillow(pixels: np.ndarray = PICTURE, mode: str = "RGB", **options: object) -> bytes:
    """A JPEG by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def opencv(*options: int) -> bytes:
    """A JPEG by OpenCV."""
    return cv2.imencode(".jpg", PICTURE, list(options))[1].tobytes()


def codecs(subsampling: str, **options: object) -> bytes:
    """A JPEG by imagecodecs."""
    return bytes(imagecodecs.jpeg8_encode(PICTURE, level=90, subsampling=subsampling, **options))


KINDS = {
    **{f"pillow {quality}": pillow(quality=quality) for quality in (1, 50, 100)},
    **{f"pillow sampling {number}": pillow(subsampling=number) for number in range(3)},
    "grey": pillow(mode="L"),
    "cmyk": pillow(mode="CMYK"),
    "cmyk whole": pillow(mode="CMYK", subsampling=0),
    "colours as they are": pillow(keep_rgb=True, subsampling=0),
    "optimised": pillow(optimize=True),
    "progressive": pillow(progressive=True),
    "progressive grey": pillow(mode="L", progressive=True),
    "progressive cmyk": pillow(mode="CMYK", progressive=True),
    "restarts": pillow(restart_marker_blocks=3),
    "progressive restarts": pillow(progressive=True, restart_marker_rows=1),
    "opencv": opencv(),
    "opencv restarts": opencv(cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    "opencv progressive": opencv(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    **{f"opencv {factor:x}": opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
       for factor in (0x411111, 0x211111, 0x221111, 0x121111)},
    **{f"imagecodecs {name}": codecs(name) for name in ("444", "422", "420", "411", "440")},
}  # fmt: skip


def as_pillow(data: bytes) -> np.ndarray:
    """What Pillow makes of a JPEG, as RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def decoded(data: bytes, folder: Path) -> np.ndarray:
    """What bccli makes of it."""
    (folder / "x.jpg").write_bytes(data)
    return decode(folder / "x.jpg")


def coded(data: bytes) -> tuple[int, int]:
    """Where the coded data of the last scan begin and end."""
    header = data.rindex(b"\xff\xda")
    return header + 2 + int.from_bytes(data[header + 2 : header + 4], "big"), data.rindex(END)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read_as_pillow_reads_them(tmp_path: Path, kind: str) -> None:
    assert np.array_equal(decoded(KINDS[kind], tmp_path), as_pillow(KINDS[kind]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whole_files_of_any_size_are_read_as_pillow_reads_them(tmp_path: Path, data: st.DataObject) -> None:
    side = st.integers(1, 70)
    pixels = picture(data.draw(side), data.draw(side), data.draw(st.integers(0, 9)))
    content = pillow(
        pixels,
        data.draw(st.sampled_from(["RGB", "L", "CMYK"])),
        quality=data.draw(st.integers(1, 95)),
        subsampling=data.draw(st.integers(0, 2)),
        progressive=data.draw(st.booleans()),
        restart_marker_blocks=data.draw(st.integers(0, 9)),
    )
    assert np.array_equal(decoded(content, tmp_path), as_pillow(content))


def with_bytes_between(data: bytes) -> bytes:
    """Zeros between two segments, which Pillow passes over too."""
    start = data.index(b"\xff\xdb")
    return data[:start] + bytes(3) + data[start:]


def with_fill(data: bytes) -> bytes:
    """Fill bytes before every marker of the header."""
    start = data.index(b"\xff\xdb")
    return data[:start] + b"\xff" * 7 + data[start:]


def before_the_end(extra: bytes) -> Callable[[bytes], bytes]:
    """Adds bytes behind the coded data."""

    def add(data: bytes) -> bytes:
        end = data.rindex(END)
        return data[:end] + extra + data[end:]

    return add


def with_jfif(version: int) -> Callable[[bytes], bytes]:
    """Changes the version that a JFIF header gives."""
    return lambda data: data.replace(b"JFIF\0\1", b"JFIF\0" + bytes([version]), 1)


def with_adobe(transform: int) -> Callable[[bytes], bytes]:
    """Adds a colour transform by Adobe's marker."""
    marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    return lambda data: data[:2] + marker + data[2:]


def with_part_of_the_spectrum(data: bytes) -> bytes:
    """Gives a sequential scan's header what only progressive ones have."""
    start, _ = coded(data)
    return data[: start - 3] + bytes([0, 9, 0]) + data[start:]


def with_thumbnail(data: bytes) -> bytes:
    """A small JPEG, damaged at that, in an application's segment."""
    small = pillow(picture(16, 16))[:300] + END
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + data[2:]


def without_end(data: bytes) -> bytes:
    """All of the pixels, and no end marker."""
    return data[: data.rindex(END)]


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "bytes behind the end": lambda data: data + bytes(range(256)) * 40,
    "another image behind the end": lambda data: data + pillow(picture(40, 40))[:-300],
    "zeros between segments": with_bytes_between,
    "fill bytes": with_fill,
    "fill bytes before the end": before_the_end(b"\xff" * 9),
    "a zero before the end": before_the_end(b"\0"),
    "few bytes before the end": before_the_end(b"abcdefgh"),
    "an unknown version of JFIF": with_jfif(7),
    "an unknown transform of colours": with_adobe(9),
    "part of the spectrum": with_part_of_the_spectrum,
    "a thumbnail": with_thumbnail,
    "two of them": lambda data: before_the_end(b"\0\0")(with_jfif(9)(data)),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_harms_no_pixel_is_read(tmp_path: Path, kind: str) -> None:
    data = HARMLESS[kind](pillow())
    assert np.array_equal(decoded(data, tmp_path), as_pillow(data))


@pytest.mark.parametrize("kind", ["progressive", "restarts", "cmyk", "grey", "pillow 100"])
def test_a_file_without_its_end_marker_is_read_while_its_pixels_are_there(tmp_path: Path, kind: str) -> None:
    assert np.array_equal(decoded(without_end(KINDS[kind]), tmp_path), as_pillow(KINDS[kind]))


def test_a_profile_that_is_no_profile_does_not_matter(tmp_path: Path) -> None:
    data = pillow(icc_profile=b"nonsense")
    assert np.array_equal(decoded(data, tmp_path), as_pillow(data))


# of progressive CMYK with fewer colours than pixels no decoder tells
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"progressive cmyk"}))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_with_an_end_put_back_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    data = KINDS[kind]
    start, end = coded(data)
    with pytest.raises(ImageError, match="is damaged"):
        decoded(data[: start + int(share * (end - start))] + END, tmp_path)


@pytest.mark.parametrize("kind", ["progressive", "progressive grey", "opencv progressive"])
def test_a_progressive_file_that_ends_between_two_scans_is_refused(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind]
    places = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    assert len(places) > 3
    for place in places[1:]:
        tables = data.rfind(b"\xff\xc4", 0, place)  # those of the next scan stay
        assert tables > 0
        with pytest.raises(ImageError, match="some of its scans are missing"):
            decoded(data[:place] + END, tmp_path)


@pytest.mark.parametrize("kind", ["pillow 50", "grey", "restarts", "optimised", "opencv", "imagecodecs 422"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_file_with_a_part_taken_out_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    data = KINDS[kind]
    start, end = coded(data)
    place = start + int(share * (end - start))
    with pytest.raises(ImageError, match="is damaged"):
        decoded(data[:place] + data[place + (end - start) // 8 :], tmp_path)


@pytest.mark.parametrize("kind", ["pillow 50", "cmyk", "imagecodecs 444"])
def test_more_than_a_little_behind_the_last_pixel_is_damage(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind]
    start, end = coded(data)
    little, much = (bytes(int(share * MOST_LEFT * (end - start))) for share in (0.5, 4))
    assert np.array_equal(decoded(before_the_end(little)(data), tmp_path), as_pillow(data))
    with pytest.raises(ImageError, match="more is left of a scan"):
        decoded(before_the_end(much)(data), tmp_path)


def test_a_header_that_is_too_low_or_too_high_is_damage(tmp_path: Path) -> None:
    data = pillow()
    place = data.index(b"\xff\xc0") + 5
    for height in (60, 240):
        changed = data[:place] + struct.pack(">H", height) + data[place + 2 :]
        with pytest.raises(ImageError, match="is damaged"):
            decoded(changed, tmp_path)


@pytest.mark.parametrize("kind", ["pillow 50", "grey", "cmyk", "opencv", "restarts"])
def test_without_the_strict_decoder_cuts_are_still_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    data = KINDS[kind]
    start, end = coded(data)
    assert np.array_equal(decoded(data, tmp_path), as_pillow(data))
    for share in (0.2, 0.9):
        with pytest.raises(ImageError, match="is damaged"):
            decoded(data[: start + int(share * (end - start))] + END, tmp_path)


def test_a_damaged_jpeg_in_a_tiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for options in ({"rowsperstrip": 48}, {"tile": (64, 64)}, {"bigtiff": True, "rowsperstrip": 120}):
        tifffile.imwrite(path, PICTURE, photometric="ycbcr", compression="jpeg", **options)
        assert decode(path).shape == PICTURE.shape
        with tifffile.TiffFile(path) as tiff:
            place, length = (part[0] for part in (tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts))
        data = bytearray(path.read_bytes())
        data[place + length // 2 : place + length] = END + bytes(length - length // 2 - 2)
        path.write_bytes(data)
        with pytest.raises(ImageError, match="is damaged"):
            decode(path)


@pytest.mark.parametrize(
    ("depth", "options"),
    [(8, {}), (8, {"lossless": True}), (12, {}), (12, {"lossless": True}), (16, {"lossless": True})],
)
def test_damaged_streams_that_others_decode_are_known(depth: int, options: dict) -> None:
    pixels = PICTURE[:, :, 0].astype(np.uint8 if depth == 8 else np.uint16) << (depth - 8)
    data = bytes(imagecodecs.jpeg8_encode(pixels, bitspersample=depth, **options))
    check_jpeg(data)
    start, end = coded(data)
    middle = (start + end) // 2
    for damaged in (data[:middle] + END, data[:middle] + data[middle + (end - start) // 8 :]):
        with pytest.raises(ImageError, match="is damaged"):
            check_jpeg(damaged)


def test_a_damaged_jpeg_in_a_dicom_file_is_refused(tmp_path: Path) -> None:
    grey = np.ascontiguousarray(PICTURE[:, :, 0])
    deep = grey.astype(np.uint16) << 4
    streams = {
        "1.2.840.10008.1.2.4.50": (grey, 8, pillow(grey, "L")),
        "1.2.840.10008.1.2.4.51": (deep, 12, bytes(imagecodecs.jpeg8_encode(deep, bitspersample=12))),
        "1.2.840.10008.1.2.4.70": (
            deep, 12, bytes(imagecodecs.jpeg8_encode(deep, lossless=True, predictor=1, bitspersample=12)),
        ),
    }  # fmt: skip
    for syntax, (pixels, bits, stream) in streams.items():
        start, end = coded(stream)
        path = tmp_path / "x.dcm"
        path.write_bytes(dicom(pixels, bits=bits, syntax=syntax, stream=stream))
        assert decode(path).shape == PICTURE.shape
        cut = stream[: (start + end) // 2] + END
        path.write_bytes(dicom(pixels, bits=bits, syntax=syntax, stream=cut))
        with pytest.raises(ImageError, match="is damaged"):
            decode(path)
