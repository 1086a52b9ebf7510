"""Kinds of TIFF that people have, exactly."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as arrays
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import MAX_PIXELS, check_size, decode, decode_deep, read_size
from bccli.core.imaging.formats.tiff import read_tiff

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (48, 32), dtype=np.uint8)
COLOUR = np.stack([np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))] * 3, axis=2) // [1, 2, 3]
COLOUR = COLOUR.astype(np.uint8)
PLANES = np.ascontiguousarray(np.moveaxis(COLOUR, 2, 0))


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey as RGB."""
    return np.stack([pixels] * 3, axis=2)


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Grey of any type from 0 to 255 by its own range."""
    values = pixels.astype(np.float64)
    return grey(np.rint((values - values.min()) * (255 / np.ptp(values))).astype(np.uint8))


def decoded(folder: Path, pixels: np.ndarray, **options: object) -> np.ndarray:
    """What becomes of pixels that tifffile wrote."""
    tifffile.imwrite(folder / "x.tif", pixels, **options)
    found = decode(folder / "x.tif")
    assert read_size(folder / "x.tif") == (found.shape[1], found.shape[0])
    return found


def refusal(folder: Path, *pixels: np.ndarray, **options: object) -> str:
    """The sentence with which pages are refused."""
    with tifffile.TiffWriter(folder / "x.tif") as file:
        for page in pixels:
            file.write(page, **options)
    with pytest.raises(ImageError) as caught:
        decode(folder / "x.tif")
    return str(caught.value)


# What a sample means


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_the_order_of_deep_samples_is_kept(tmp_path: Path, kind: str, photometric: str) -> None:
    pixels = RNG.integers(0, 2**31, (9, 7)).astype(np.float64) / 2**31
    limits = np.finfo(kind) if kind[0] == "f" else np.iinfo(kind)
    low, high = (-100.0, 100.0) if kind[0] == "f" else (float(limits.min) / 2, float(limits.max) * 0.99)
    values = (low + pixels * (high - low)).astype(kind)
    expected = stretched(values)
    if photometric == "miniswhite":
        expected = 255 - expected
    found = decoded(tmp_path, values, photometric=photometric)
    assert abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=arrays.arrays(np.int8, (4, 5)))
def test_signed_8_bits_reach_from_black_to_white(
    tmp_path: Path, photometric: str, pixels: np.ndarray
) -> None:
    found = decoded(tmp_path, pixels, photometric=photometric)
    expected = (pixels.astype(int) + 128).astype(np.uint8)
    assert (found == grey(expected if photometric == "minisblack" else 255 - expected)).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_reach_from_black_to_white_and_white_may_be_zero(tmp_path: Path, bits: int) -> None:
    levels = RNG.integers(0, 1 << bits, (9, 16), dtype=np.uint8)
    expected = grey((levels.astype(int) * 255 // ((1 << bits) - 1)).astype(np.uint8))
    for photometric, shown in (("minisblack", expected), ("miniswhite", 255 - expected)):
        options = {"photometric": photometric, "bitspersample": bits}
        assert (decoded(tmp_path, levels, **options) == shown).all()
        assert (by_tifffile(tmp_path / "x.tif") == shown[:, :, 0]).all()


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_are_read_and_colours_of_them_reach_white(tmp_path: Path, bits: int) -> None:
    import imagecodecs

    top = (1 << bits) - 1
    levels = RNG.integers(0, top + 1, (4, 8, 3)).astype(np.uint16)
    levels[0, 0] = top
    for pixels, samples, photometric in ((levels[..., 0], 1, 1), (levels, 3, 2)):
        packed = imagecodecs.packints_encode(np.ascontiguousarray(pixels).reshape(-1), bits)
        (tmp_path / "x.tif").write_bytes(plain_tiff(8, 4, bits, samples, photometric, bytes(packed)))
        found = decode(tmp_path / "x.tif")
        assert found.max() == 255
        expected = stretched(pixels) if samples == 1 else (pixels >> (bits - 8)).astype(np.uint8)
        assert (found == expected).all()


def plain_tiff(
    width: int, height: int, bits: int, samples: int, photometric: int, data: bytes, **more: tuple[int, ...]
) -> bytes:
    """A TIFF in one strip, with any further tags by number, such as t320=(…)."""
    tags = {
        256: (width,), 257: (height,), 258: (bits,) * samples, 259: (1,), 262: (photometric,),
        273: (8,), 277: (samples,), 278: (height,), 279: (len(data),),
    }  # fmt: skip
    tags |= {int(name[1:]): values for name, values in more.items()}
    start = 8 + len(data) + len(data) % 2
    behind = start + 2 + 12 * len(tags) + 4
    entries, rest = b"", b""
    for tag, values in sorted(tags.items()):
        kind, content = (4, np.array(values, "<u4")) if max(values) > 65535 else (3, np.array(values, "<u2"))
        raw = content.tobytes()
        if len(raw) > 4:
            place, rest = behind + len(rest), rest + raw
            raw = place.to_bytes(4, "little")
        entries += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        entries += len(values).to_bytes(4, "little") + raw.ljust(4, b"\0")
    header = b"II*\0" + start.to_bytes(4, "little") + data + bytes(len(data) % 2)
    return header + len(tags).to_bytes(2, "little") + entries + bytes(4) + rest


@pytest.mark.parametrize("scale", [257, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_palette_is_looked_up_also_where_it_has_8_bits_of_16(tmp_path: Path, bits: int, scale: int) -> None:
    table = RNG.integers(0, 256, (3, 1 << bits))
    table[:, 0] = 255
    numbers = RNG.integers(0, 1 << bits, (4, 16)).astype(np.uint16)
    if bits < 8:
        unpacked = np.unpackbits(numbers.astype(np.uint8).reshape(-1, 1), axis=1)[:, -bits:]
        data = np.packbits(unpacked).tobytes()
    else:
        data = numbers.astype(f"<u{bits // 8}").tobytes()
    colours = tuple((table * scale).ravel().tolist())
    (tmp_path / "x.tif").write_bytes(plain_tiff(16, 4, bits, 1, 3, data, t320=colours))
    assert (decode(tmp_path / "x.tif") == np.moveaxis(table, 0, -1)[numbers]).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [2, 4])
def test_what_is_transparent_becomes_white_at_any_depth(tmp_path: Path, kind: type, samples: int) -> None:
    full = np.iinfo(kind).max
    pixels = np.zeros((2, 3, samples), kind)
    pixels[0, :, -1] = full  # black above, and nothing below
    photometric = "rgb" if samples == 4 else "minisblack"
    for extra in ("unassalpha", "assocalpha"):
        found = decoded(
            tmp_path, pixels, photometric=photometric, extrasamples=[extra], planarconfig="contig"
        )
        assert (found[0] == 0).all()
        assert (found[1] == 255).all()


def test_a_sample_of_no_known_meaning_beside_the_colours_changes_nothing(tmp_path: Path) -> None:
    pixels = np.dstack([COLOUR, np.zeros(COLOUR.shape[:2], np.uint8)])
    for kind, shift in ((np.uint8, 0), (np.uint16, 8)):
        deep = pixels.astype(kind) << shift
        found = decoded(tmp_path, deep, photometric="rgb", extrasamples=["unspecified"])
        assert (found == COLOUR).all()


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("compression", ["raw", "jpeg"])
def test_luminance_and_chrominance_become_colours_or_are_refused(
    tmp_path: Path, compression: str, subsampling: tuple[int, int]
) -> None:
    smooth = np.asarray(Image.fromarray(COLOUR).resize((64, 48), Image.Resampling.BICUBIC))
    path = tmp_path / "x.tif"
    if compression == "jpeg":
        tifffile.imwrite(path, smooth, photometric="rgb", compression="jpeg", subsampling=subsampling)
    else:
        stored = np.asarray(Image.fromarray(smooth).convert("YCbCr")).tobytes()
        path.write_bytes(plain_tiff(64, 48, 8, 3, 6, stored, t530=subsampling))
    if compression == "raw" and subsampling != (1, 1):
        with pytest.raises(ImageError, match=r"^has colours of an unusual kind \(YCBCR\)"):
            decode(path)
    else:
        assert abs(decode(path).astype(int) - smooth).max() <= 12


# Compressions


@pytest.mark.parametrize("compression", ["webp", "zstd", "lzma", "jpeg2000", "lerc", "jpegxl", "deflate"])
def test_newer_compressions_are_read(tmp_path: Path, compression: str) -> None:
    args = {"jpeg2000": {"level": 0}, "webp": {"lossless": True}, "jpegxl": {"lossless": True}}.get(
        compression, {}
    )
    options = {"photometric": "rgb", "compression": compression, "compressionargs": args}
    assert (decoded(tmp_path, COLOUR, **options) == COLOUR).all()
    assert (decoded(tmp_path, COLOUR, **options, tile=(16, 16)) == COLOUR).all()


def test_slides_that_keep_luminance_in_jpeg_2000_become_colours(tmp_path: Path) -> None:
    """Aperio's kind says nothing of it but by its number."""
    image = Image.fromarray(COLOUR).convert("YCbCr")
    stored = np.asarray(image)
    options = {"compression": "jpeg2000", "compressionargs": {"level": 0, "mct": False}}
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", **options)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(33003)
    assert (decode(tmp_path / "x.tif") == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("number", [32809, 34661, 65000, 4711])
def test_a_compression_that_is_not_supported_is_not_called_damage(tmp_path: Path, number: int) -> None:
    tifffile.imwrite(tmp_path / "x.tif", GREY)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(number)
    with pytest.raises(ImageError, match=r"^is compressed in a way that bccli cannot read \(") as caught:
        decode(tmp_path / "x.tif")
    assert "damaged" not in str(caught.value)


def test_a_damaged_stream_of_a_newer_compression_is_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", COLOUR, photometric="rgb", compression="zstd")
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        start, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray((tmp_path / "x.tif").read_bytes())
    data[start : start + length] = b"\x55" * length
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(ImageError, match=r"^is damaged"):
        decode(tmp_path / "x.tif")


# Channels and pages


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_three_planes_that_are_called_channels_are_colours(tmp_path: Path, kind: type) -> None:
    planes = PLANES.astype(kind) << (8 if kind == np.uint16 else 0)
    for options in (
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "rgb", "planarconfig": "separate"},
        {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack", "planarconfig": "separate"},
    ):
        options = {"photometric": "minisblack", **options}
        assert (decoded(tmp_path, planes, **options) == COLOUR).all(), options


def test_channels_are_put_in_the_order_that_their_names_say(tmp_path: Path) -> None:
    backwards = np.ascontiguousarray(PLANES[::-1])
    names = {"axes": "CYX", "Channel": {"Name": ["Blue", "green", "RED"]}}
    assert (decoded(tmp_path, backwards, ome=True, metadata=names, photometric="minisblack") == COLOUR).all()
    colours = {"axes": "CYX", "Channel": {"Color": [0x0000FFFF, 0x00FF00FF, -16776961]}}
    assert (
        decoded(tmp_path, backwards, ome=True, metadata=colours, photometric="minisblack") == COLOUR
    ).all()
    tables = [np.zeros((3, 256), np.uint8) for _ in range(3)]
    for number, table in enumerate(tables):
        table[2 - number] = np.arange(256)
    told = {"axes": "CYX", "mode": "composite", "LUTs": tables}
    assert (decoded(tmp_path, backwards, imagej=True, metadata=told) == COLOUR).all()


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (
            3,
            {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "TRITC"]}}},
            "dapi",
        ),
        (2, {"ome": True, "metadata": {"axes": "CYX"}}, "2 channels"),
        (4, {"ome": True, "metadata": {"axes": "CYX"}}, "4 channels"),
        (3, {"ome": True, "metadata": {"axes": "ZYX"}}, "3 slices"),
        (3, {"ome": True, "metadata": {"axes": "TYX"}}, "3 frames"),
        (3, {"imagej": True, "metadata": {"axes": "ZYX"}}, "3 slices"),
        (3, {"imagej": True, "metadata": {"axes": "TYX"}}, "3 frames"),
        (2, {"imagej": True, "metadata": {"axes": "CYX", "mode": "color"}}, "2 channels"),
        (3, {"imagej": True, "metadata": {"axes": "CYX", "mode": "grayscale"}}, "3 grey channels"),
        (3, {"photometric": "minisblack"}, "3 grey pages of one size"),
        (2, {"photometric": "minisblack", "metadata": None}, "2 grey pages of one size"),
        (4, {"photometric": "minisblack", "planarconfig": "separate"}, "4 channels"),
    ],
)
def test_other_channels_slices_and_frames_are_refused_by_what_they_are(
    tmp_path: Path, count: int, options: dict, said: str
) -> None:
    planes = RNG.integers(0, 256, (count, 24, 20), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", planes, **{"photometric": "minisblack", **options})
    with pytest.raises(ImageError, match=r"^holds ") as caught:
        decode(tmp_path / "x.tif")
    assert said in str(caught.value)
    assert "RGB or grey" in str(caught.value) or "not red, green and blue" in str(caught.value)


def test_a_channel_of_which_the_others_lie_elsewhere_is_no_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", PLANES, ome=True, metadata={"axes": "CYX"}, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        description = tiff.ome_metadata
    assert "3 channels in 1 of its pages" in refusal(
        tmp_path, PLANES[0], description=description, metadata=None, photometric="minisblack"
    )


def test_of_several_images_in_a_file_the_larger_counts_or_none(tmp_path: Path) -> None:
    for first, second, said in ((GREY, GREY[:5, :5], ""), (GREY[:5, :5], GREY, ""), (GREY, GREY, "2 images")):
        with tifffile.TiffWriter(tmp_path / "x.tif", ome=True) as file:
            file.write(first, metadata={"axes": "YX"})
            file.write(second, metadata={"axes": "YX"})
        if said:
            with pytest.raises(ImageError, match=f"^holds {said} of one size"):
                decode(tmp_path / "x.tif")
        else:
            assert (decode(tmp_path / "x.tif") == grey(GREY)).all()


@pytest.mark.parametrize("axes", ["YX", "YXS"])
def test_a_single_image_with_a_description_is_read(tmp_path: Path, axes: str) -> None:
    pixels = GREY if axes == "YX" else COLOUR
    photometric = "minisblack" if axes == "YX" else "rgb"
    for options in ({"ome": True}, {"imagej": True}, {}):
        found = decoded(tmp_path, pixels, metadata={"axes": axes}, photometric=photometric, **options)
        assert (found == (grey(GREY) if axes == "YX" else COLOUR)).all()


SMALL = np.ascontiguousarray(COLOUR[::4, ::4])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("subfiletype", [0, 1])
def test_a_smaller_copy_is_never_the_image(tmp_path: Path, subfiletype: int, deep: bool) -> None:
    """Whether it comes first or last, is marked or not; also where both are grey."""
    for large, small in ((COLOUR, SMALL), (COLOUR[:, :, 0], SMALL[:, :, 0])):
        photometric = "rgb" if large.ndim == 3 else "minisblack"
        for small_first in (True, False):
            with tifffile.TiffWriter(tmp_path / "x.tif", bigtiff=deep) as file:
                for page in (small, large) if small_first else (large, small):
                    kind = subfiletype if page is small else 0
                    file.write(np.ascontiguousarray(page), photometric=photometric, subfiletype=kind)
            found = decode(tmp_path / "x.tif")
            assert (found == (COLOUR if large.ndim == 3 else grey(COLOUR[:, :, 0]))).all()
            assert read_size(tmp_path / "x.tif") == (64, 48)


def test_a_reduced_page_of_the_same_size_and_a_mask_do_not_count(tmp_path: Path) -> None:
    mask = COLOUR[:, :, 0] > 99
    for kind, page in ((1, 255 - COLOUR), (4, mask)):
        with tifffile.TiffWriter(tmp_path / "x.tif") as file:
            file.write(page, photometric="rgb" if kind == 1 else "minisblack", subfiletype=kind)
            file.write(COLOUR, photometric="rgb")
        assert (decode(tmp_path / "x.tif") == COLOUR).all()


def test_a_pyramid_below_the_page_does_not_count_but_the_image_below_a_thumbnail_does(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(COLOUR, photometric="rgb", subifds=1)
        file.write(SMALL, photometric="rgb", subfiletype=1)
    assert (decode(tmp_path / "x.tif") == COLOUR).all()
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(SMALL, photometric="rgb", subfiletype=1, subifds=1)
        file.write(COLOUR, photometric="rgb")
    assert (decode(tmp_path / "x.tif") == COLOUR).all()
    assert read_size(tmp_path / "x.tif") == (64, 48)


def test_a_reduced_page_alone_is_all_there_is(tmp_path: Path) -> None:
    assert (decoded(tmp_path, COLOUR, photometric="rgb", subfiletype=1) == COLOUR).all()


def test_pages_that_lead_back_to_the_first_end_there(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", GREY, metadata=None)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * count : first + 6 + 12 * count] = first.to_bytes(4, "little")
    (tmp_path / "x.tif").write_bytes(data)
    assert (decode(tmp_path / "x.tif") == grey(GREY)).all()


def test_thousands_of_pages_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for _ in range(4100):
            file.write(GREY[:1, :1], metadata=None)
    with pytest.raises(ImageError, match="more than 4,096 pages"):
        decode(tmp_path / "x.tif")


def by_tifffile(path: Path) -> np.ndarray:
    """What becomes of a file that Pillow is not asked about."""
    return read_tiff(path.read_bytes(), check_size, max_pixels=MAX_PIXELS)


def test_what_pillow_and_tifffile_both_read_is_the_same_from_either(tmp_path: Path) -> None:
    for pixels in (GREY, GREY.astype(np.uint16) * 200, COLOUR, COLOUR.astype(np.uint16) * 257):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(tmp_path / "x.tif", pixels, photometric=photometric)
        assert (decode_deep(tmp_path / "x.tif") == _upper(by_tifffile(tmp_path / "x.tif"))).all()


def _upper(pixels: np.ndarray) -> np.ndarray:
    return pixels >> 8 if pixels.ndim == 3 and pixels.dtype == np.uint16 else pixels


@pytest.mark.parametrize("place", [0, 1])
def test_the_largest_page_may_be_of_a_kind_that_only_pillow_reads(tmp_path: Path, place: int) -> None:
    large = Image.fromarray(RNG.integers(0, 256, (48, 64, 4), dtype=np.uint8), "CMYK")
    pages = [large.resize((6, 4)), large.resize((6, 4))]
    pages.insert(place, large)
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert (decode(tmp_path / "x.tif") == np.asarray(large.convert("RGB"))).all()
    assert read_size(tmp_path / "x.tif") == (64, 48)


def test_a_grey_tiff_keeps_its_depth(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREY.astype(np.uint32) << 24)
    (tmp_path / "x.tif").write_bytes(buffer.getvalue())
    assert decode_deep(tmp_path / "x.tif").dtype == np.uint32
