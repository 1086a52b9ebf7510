"""Images that lie on their side, in every format alike."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from bccli.core.imaging.formats.decoding import decode, read_size
from bccli.core.imaging.formats.orientation import TAG
from tests.core.imaging.formats.test_decoding import chunk

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes what the decoder set up

SHOWN = np.zeros((16, 24, 3), np.uint8)
SHOWN[:8, :8] = [250, 40, 40]
SHOWN[8:, 8:] = [30, 200, 90]

# How each orientation stores what is to be shown: EXIF 2.3, the position of row 0 and column 0.
STORED = {
    1: SHOWN,
    2: np.fliplr(SHOWN),
    3: np.rot90(SHOWN, 2),
    4: np.flipud(SHOWN),
    5: SHOWN.swapaxes(0, 1),
    6: np.rot90(SHOWN),
    7: np.rot90(SHOWN, 2).swapaxes(0, 1),
    8: np.rot90(SHOWN, -1),
}


def exif(orientation: int) -> Image.Exif:
    """EXIF data that say nothing else."""
    data = Image.Exif()
    data[TAG] = orientation
    return data


def xmp(orientation: int) -> str:
    """XMP data that say nothing else."""
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="{orientation}"/></x:xmpmeta>'


def save_png_late(image: Image.Image, path: Path, orientation: int) -> None:
    """A PNG that says how it lies behind its pixels."""
    image.save(path, "PNG")
    data = path.read_bytes()
    end = data.rindex(b"IEND") - 4
    path.write_bytes(data[:end] + chunk(b"eXIf", exif(orientation).tobytes()[6:]) + data[end:])


def save_png_xmp(image: Image.Image, path: Path, orientation: int) -> None:
    """A PNG that says it in XMP."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(orientation))
    image.save(path, "PNG", pnginfo=text)


def save_png_text(image: Image.Image, path: Path, orientation: int) -> None:
    """A PNG that says it as ImageMagick does, in hexadecimal text."""
    data = exif(orientation).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=True)
    image.save(path, "PNG", pnginfo=text)


def save_tiff(image: Image.Image, path: Path, orientation: int, **options: object) -> None:
    """A TIFF by tifffile."""
    tags = [(TAG, "H", 1, orientation, True)]
    tifffile.imwrite(path, np.asarray(image), photometric="rgb", extratags=tags, **options)


def save_deep_tiff(image: Image.Image, path: Path, orientation: int) -> None:
    """A TIFF of 16 bits in planes, which Pillow does not read."""
    planes = np.moveaxis(np.asarray(image), 2, 0).astype(np.uint16) * 257
    tags = [(TAG, "H", 1, orientation, True)]
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", extratags=tags)


def save_tiff_with_thumbnail(image: Image.Image, path: Path, orientation: int) -> None:
    """A TIFF of two pages."""
    tags = [(TAG, "H", 1, orientation, True)]
    with tifffile.TiffWriter(path) as file:
        file.write(np.asarray(image)[:4, :4], photometric="rgb", subfiletype=1, extratags=tags)
        file.write(np.asarray(image), photometric="rgb", extratags=tags)


SAVE = {
    "jpeg": lambda image, path, turn: image.save(path, "JPEG", quality=100, subsampling=0, exif=exif(turn)),
    "jpeg xmp": lambda image, path, turn: image.save(
        path, "JPEG", quality=100, subsampling=0, xmp=xmp(turn).encode()
    ),
    "progressive jpeg": lambda image, path, turn: image.save(
        path, "JPEG", quality=100, subsampling=0, progressive=True, exif=exif(turn)
    ),
    "png": lambda image, path, turn: image.save(path, "PNG", exif=exif(turn)),
    "late png": save_png_late,
    "png xmp": save_png_xmp,
    "png text": save_png_text,
    "webp": lambda image, path, turn: image.save(path, "WEBP", lossless=True, exif=exif(turn)),
    "tiff": save_tiff,
    "lzw tiff": lambda image, path, turn: save_tiff(image, path, turn, compression="lzw"),
    "zstd tiff": lambda image, path, turn: save_tiff(image, path, turn, compression="zstd"),
    "big tiff": lambda image, path, turn: save_tiff(image, path, turn, bigtiff=True),
    "deep tiff": save_deep_tiff,
    "tiff with thumbnail": save_tiff_with_thumbnail,
}


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize("kind", SAVE)
def test_pixels_are_turned_and_the_size_with_them(tmp_path: Path, kind: str, turn: int) -> None:
    path = tmp_path / "x"
    SAVE[kind](Image.fromarray(np.ascontiguousarray(STORED[turn])), path, turn)
    found = decode(path)
    assert found.shape == SHOWN.shape
    assert found.flags.c_contiguous
    assert abs(found.astype(int) - SHOWN).max() <= (8 if "jpeg" in kind else 0)
    assert read_size(path) == (24, 16)


@pytest.mark.parametrize("turn", [0, 9, 77])
def test_what_no_standard_knows_turns_nothing(tmp_path: Path, turn: int) -> None:
    for kind in ("jpeg", "png", "late png", "webp", "zstd tiff", "tiff"):
        SAVE[kind](Image.fromarray(SHOWN), tmp_path / "x", turn)
        assert decode(tmp_path / "x").shape == SHOWN.shape
        assert read_size(tmp_path / "x") == (24, 16)


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        for data in (b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
            Image.fromarray(SHOWN).save(tmp_path / "x", kind, exif=data)
            assert decode(tmp_path / "x").shape == SHOWN.shape
            assert read_size(tmp_path / "x") == (24, 16)


def test_grey_of_16_bits_is_turned_as_well(tmp_path: Path) -> None:
    deep = np.arange(6, dtype=np.uint16).reshape(2, 3) * 51 * 256
    Image.fromarray(deep).save(tmp_path / "x.png", exif=exif(6))
    expected = np.rot90(deep // 256, -1)
    assert (decode(tmp_path / "x.png")[:, :, 0] == expected).all()
