"""Palettes and tables of DICOM files, padding, and bits at unusual places."""

import contextlib
import io
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid
from pydicom.pixels.processing import _expand_segmented_lut

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.dicom_tables import Descriptor, expand
from tests.core.imaging.formats.test_dicom import (
    RNG,
    STRETCHED,
    TEXTURE,
    dataset_of,
    decoded,
    dicom,
    grey,
    reason,
    rle,
)

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

COLOURS = ("Red", "Green", "Blue")
TABLE = RNG.integers(0, 256, (3, 256))
NUMBERS = RNG.integers(0, 256, (6, 8), dtype=np.uint8)


def palette(
    *tables: np.ndarray | bytes, first: int = 0, bits: int = 16, entries: int | None = None, form: str = "{}"
) -> dict[str, object]:
    """The elements of a palette; `form` makes them segmented."""
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in zip(COLOURS, tables, strict=True):
        count = len(table) if entries is None else entries
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [count % 65536, first, bits]
        data = table if isinstance(table, bytes) else table.tobytes()
        elements[f"{form.format(colour)}PaletteColorLookupTableData"] = data
    return elements


# How 8 bits stand in a table: numpy's type, and what they are multiplied by.
STORAGES = {
    "bytes": ("u1", 1, 8),
    "low bytes of words": ("<u2", 1, 8),
    "high bytes of words": ("<u2", 256, 8),
    "both bytes of words": ("<u2", 257, 8),
    "low bytes of 16 bits": ("<u2", 1, 16),
    "high bytes of 16 bits": ("<u2", 256, 16),
    "16 bits": ("<u2", 257, 16),
    "bytes that are called 16 bits": ("u1", 1, 16),
    "12 bits": ("<u2", 16, 12),
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("number", [np.uint8, np.uint16])
def test_a_palette_is_looked_up_however_its_bytes_are_stored(
    tmp_path: Path, storage: str, number: type
) -> None:
    kind, scale, bits = STORAGES[storage]
    tables = [(colour * scale).astype(kind) for colour in TABLE]
    found = decoded(tmp_path, dicom(NUMBERS.astype(number), **palette(*tables, bits=bits)))
    assert (found == np.moveaxis(TABLE, 0, -1)[NUMBERS]).all()


@pytest.mark.parametrize("storage", ["16 bits", "low bytes of words"])
def test_a_palette_may_be_big_endian(tmp_path: Path, storage: str) -> None:
    _, scale, bits = STORAGES[storage]
    tables = [(colour * scale).astype(">u2") for colour in TABLE]
    data = dicom(NUMBERS.astype(">u2"), syntax=uid.ExplicitVRBigEndian, **palette(*tables, bits=bits))
    assert (decoded(tmp_path, data) == np.moveaxis(TABLE, 0, -1)[NUMBERS]).all()


@pytest.mark.parametrize("first", [-50, -1, 0, 7, 200])
@pytest.mark.parametrize("signed", [False, True])
def test_values_outside_of_a_palette_get_its_ends(tmp_path: Path, first: int, signed: bool) -> None:
    if first < 0 and not signed:
        first += 65536
    numbers = RNG.integers(-300, 300, (6, 8)).astype(np.int16)
    pixels = numbers if signed else abs(numbers).astype(np.uint16)
    tables = [(colour[:100] * 257).astype("<u2") for colour in TABLE]
    elements = palette(*tables, first=first)
    found = decoded(tmp_path, dicom(pixels, **elements))
    places = np.clip(pixels.astype(int) - first, 0, 99)
    assert (found == np.moveaxis(TABLE, 0, -1)[places]).all()


def test_zero_entries_are_65536(tmp_path: Path) -> None:
    table = np.arange(65536, dtype="<u2")
    pixels = RNG.integers(0, 65536, (6, 8)).astype(np.uint16)
    found = decoded(tmp_path, dicom(pixels, **palette(table, table[::-1].copy(), table)))
    expected = np.stack([pixels >> 8, (65535 - pixels) >> 8, pixels >> 8], axis=2)
    assert (found == expected).all()


def test_how_transparent_a_palette_is_does_not_matter(tmp_path: Path) -> None:
    tables = [(colour * 257).astype("<u2") for colour in TABLE]
    alpha = {"AlphaPaletteColorLookupTableData": bytes(512)}
    found = decoded(tmp_path, dicom(NUMBERS, **palette(*tables), **alpha))
    assert (found == np.moveaxis(TABLE, 0, -1)[NUMBERS]).all()


def test_a_palette_beside_grey_does_not_matter(tmp_path: Path) -> None:
    elements = palette(*[(colour * 257).astype("<u2") for colour in TABLE])
    elements |= {"PhotometricInterpretation": "MONOCHROME2"}
    assert (decoded(tmp_path, dicom(NUMBERS, **elements)) == grey(NUMBERS)).all()


def test_a_palette_that_is_not_there_or_too_short_is_refused(tmp_path: Path) -> None:
    assert "a palette that it does not hold" in reason(
        tmp_path, dicom(NUMBERS, PhotometricInterpretation="PALETTE COLOR")
    )
    short = [np.zeros(200, "<u2")] * 3
    said = reason(tmp_path, dicom(NUMBERS, **palette(*short, entries=256)))
    assert said == "is damaged (a look-up table of 200 entries, not 256)"
    assert "of 0 bits" in reason(tmp_path, dicom(NUMBERS, **palette(*short, bits=0)))


# Segments: (opcode, length, values)
def segmented(width: int, *segments: list[int]) -> bytes:
    """Segments as words of so many bytes."""
    flat = [value for segment in segments for value in segment]
    return np.array(flat, f"<u{width}").tobytes()


@pytest.mark.parametrize("width", [1, 2])
def test_a_palette_in_segments_is_expanded(tmp_path: Path, width: int) -> None:
    top = 200 if width == 1 else 51400
    red = segmented(width, [0, 2, 0, top // 2], [1, 100, top], [1, 154, 0])
    again = 4 * width
    pointer = [again, 0, 0, 0] if width == 1 else [again, 0]
    green = segmented(width, [0, 2, 5, 9], [1, 100, top], [2, 1, *pointer], [0, 54, *range(54)])
    elements = palette(red, green, red, bits=8 * width, entries=256, form="Segmented{}")
    found = decoded(tmp_path, dicom(NUMBERS, **elements))
    fall = [*np.linspace(0, top // 2, 2), *np.linspace(top / 2, top, 101)[1:], *np.linspace(top, 0, 155)[1:]]
    rise = [5, 9, *np.linspace(9, top, 101)[1:], *[top] * 100, *range(54)]
    scale = 1 if width == 1 else 256
    tables = np.stack([np.rint(fall) // scale, np.rint(rise) // scale, np.rint(fall) // scale], axis=1)
    assert abs(found - tables[NUMBERS]).max() <= 1


@given(
    parts=st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 65535), st.booleans()), min_size=1, max_size=9
    )
)
def test_segments_expand_as_in_pydicom(parts: list[tuple[int, int, bool]]) -> None:
    words = [0, 1, 7]
    for length, value, linear in parts:
        words += [1, length, value] if linear else [0, length, *[value] * length]
    expected = _expand_segmented_lut(tuple(words), f"<{len(words)}H")
    data = np.array(words, "<u2").tobytes()
    found = expand(data, Descriptor(len(expected), 0, 16), big_endian=False)
    assert abs(found.astype(int) - expected).max() <= 1


@given(data=st.binary(max_size=60), bits=st.sampled_from([8, 16]))
def test_damaged_segments_are_refused_or_whole(data: bytes, bits: int) -> None:
    with contextlib.suppress(ImageError):
        assert len(expand(data, Descriptor(64, 0, bits), big_endian=False)) == 64


def test_segments_that_repeat_themselves_for_ever_are_refused() -> None:
    words = [0, 1, 7, 1, 60000, 9, *[2, 65535, 6, 0] * 2000]
    with pytest.raises(ImageError, match="is damaged"):
        expand(np.array(words, "<u2").tobytes(), Descriptor(65536, 0, 16), big_endian=False)


# What grey values mean


def modality(values: np.ndarray, *, first: int = 0, bits: int = 16, vr: str = "OW") -> dict[str, object]:
    """A Modality LUT of these entries."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values) % 65536, first, bits])
    item.ModalityLUTType = "OD"
    item.add_new("LUTData", vr, values.astype("<u2").tobytes() if vr == "OW" else values.tolist())
    return {"ModalityLUTSequence": [item]}


@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_modality_table_is_applied_before_the_range_is_taken(
    tmp_path: Path, vr: str, inverted: bool
) -> None:
    table = np.rint(60000 / (1 + np.arange(4096) / 100)).astype(np.uint16)
    values = table[TEXTURE].astype(float)
    expected = np.rint((values - values.min()) * (255 / np.ptp(values)))
    shown = "MONOCHROME1" if inverted else "MONOCHROME2"
    data = dicom(TEXTURE, bits=12, PhotometricInterpretation=shown, **modality(table, vr=vr))
    found = decoded(tmp_path, data).astype(int)
    assert abs(found - grey(255 - expected if inverted else expected)).max() <= 1


def test_the_modality_table_maps_signed_values_and_8_bits(tmp_path: Path) -> None:
    pixels = RNG.integers(-40, 60, (6, 8)).astype(np.int16)
    table = RNG.integers(0, 256, 80)
    table[:2] = 0, 255
    expected = table[np.clip(pixels + 30, 0, 79)]
    found = decoded(tmp_path, dicom(pixels, **modality(table, first=-30, bits=8)))
    assert (found == grey(expected)).all()
    narrow = dicom(NUMBERS, **modality(np.arange(256) ** 2))
    low, high = (int(edge) ** 2 for edge in (NUMBERS.min(), NUMBERS.max()))
    wanted = np.rint((NUMBERS.astype(float) ** 2 - low) * 255 / (high - low))
    assert abs(decoded(tmp_path, narrow).astype(int) - grey(wanted)).max() <= 1


def test_a_slope_in_the_functional_groups_counts(tmp_path: Path) -> None:
    outer, inner = pydicom.Dataset(), pydicom.Dataset()
    inner.RescaleSlope, inner.RescaleIntercept = -1, 4095
    outer.PixelValueTransformationSequence = [inner]
    found = decoded(tmp_path, dicom(4095 - TEXTURE, bits=12, SharedFunctionalGroupsSequence=[outer]))
    assert (found == decoded(tmp_path, dicom(TEXTURE, bits=12))).all()


PADDED = np.array([[1000, 1510, 9], [2020, 2030, 9]], np.uint16)
BLACK_BESIDE = np.hstack([STRETCHED, np.zeros((2, 1), np.uint8)])


@pytest.mark.parametrize("padding", [9, 4000])
@pytest.mark.parametrize("inverted", [False, True])
def test_padding_is_left_out_of_the_range_and_is_black(tmp_path: Path, padding: int, inverted: bool) -> None:
    pixels = np.where(PADDED == 9, padding, 4095 - PADDED if inverted else PADDED).astype(np.uint16)
    shown = "MONOCHROME1" if inverted else "MONOCHROME2"
    data = dicom(pixels, bits=12, PhotometricInterpretation=shown, PixelPaddingValue=padding)
    assert (decoded(tmp_path, data) == grey(BLACK_BESIDE)).all()
    plain = dicom(pixels, PhotometricInterpretation=shown, PixelPaddingValue=padding)
    assert (decoded(tmp_path, plain) == grey(BLACK_BESIDE)).all()


@pytest.mark.parametrize(("value", "limit"), [(9, 20), (20, 9), (0, 999)])
def test_padding_may_be_a_range(tmp_path: Path, value: int, limit: int) -> None:
    pixels = PADDED.copy()
    pixels[1, 2] = 15
    data = dicom(pixels, bits=12, PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    assert (decoded(tmp_path, data) == grey(BLACK_BESIDE)).all()


def test_padding_may_be_negative_whatever_sign_it_is_written_with(tmp_path: Path) -> None:
    pixels = np.where(PADDED == 9, -2000, PADDED.astype(int) - 1500).astype(np.int16)
    for vr, value in (("SS", -2000), ("US", 63536)):
        dataset, buffer = dataset_of(pixels), io.BytesIO()
        dataset.add_new("PixelPaddingValue", vr, value)
        dataset.save_as(buffer, enforce_file_format=True)
        assert (decoded(tmp_path, buffer.getvalue()) == grey(BLACK_BESIDE)).all()


def test_padding_that_no_pixel_can_have_and_an_image_of_padding_change_nothing(tmp_path: Path) -> None:
    assert (decoded(tmp_path, dicom(NUMBERS, PixelPaddingValue=63536)) == grey(NUMBERS)).all()
    flat = np.full((3, 4), 700, np.uint16)
    assert (decoded(tmp_path, dicom(flat, PixelPaddingValue=700)) == 0).all()


def test_padding_of_8_bits_is_black_and_the_rest_stays(tmp_path: Path) -> None:
    padding = int(NUMBERS[2, 2])
    found = decoded(tmp_path, dicom(NUMBERS, PixelPaddingValue=padding))
    assert (found == grey(np.where(np.equal(NUMBERS, padding), 0, NUMBERS))).all()


# Bits at unusual places


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 12), (10, 14), (8, 15), (8, 11), (4, 7)])
def test_a_high_bit_out_of_the_ordinary_is_followed(
    tmp_path: Path, bits: int, high: int, signed: bool, noise: bool
) -> None:
    """What lies outside of the stored bits is something else, such as overlays."""
    wide = np.uint16 if high > 7 else np.uint8
    values = (TEXTURE >> (12 - bits)).astype(wide)
    values[0, 0] = (1 << bits) - 1
    plain = values.astype(int) - (values >> (bits - 1) << bits).astype(int) if signed else values.astype(int)
    kind = np.dtype(wide).str.replace("u", "i") if signed else np.dtype(wide).str
    expected = decoded(tmp_path, dicom(plain.astype(kind), bits=bits))
    shifted = values << (high + 1 - bits)
    if noise:
        other = RNG.integers(0, np.iinfo(wide).max + 1, values.shape).astype(wide)
        shifted |= other & ~np.array(((1 << bits) - 1) << (high + 1 - bits)).astype(wide)
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        data = dicom(shifted.astype(wide).view(kind), bits=bits, HighBit=high, syntax=syntax)
        assert (decoded(tmp_path, data) == expected).all()
    stream = rle(shifted.astype(wide).view(kind))
    data = dicom(shifted.view(kind), bits=bits, HighBit=high, syntax=uid.RLELossless, stream=stream)
    assert (decoded(tmp_path, data) == expected).all()


def test_colours_and_inverted_grey_follow_the_high_bit(tmp_path: Path) -> None:
    colours = RNG.integers(0, 4096, (6, 8, 3)).astype(np.uint16)
    data = dicom(colours << 4, bits=12, HighBit=15)
    assert (decoded(tmp_path, data) == colours >> 4).all()
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    shifted = decoded(tmp_path, dicom(TEXTURE << 4, bits=12, HighBit=15, **inverted))
    assert (shifted == decoded(tmp_path, dicom(TEXTURE, bits=12, **inverted))).all()


@pytest.mark.parametrize(("bits", "high"), [(12, 16), (12, 3), (8, 20)])
def test_a_high_bit_that_cannot_be_is_refused(tmp_path: Path, bits: int, high: int) -> None:
    assert "is damaged (HighBit" in reason(tmp_path, dicom(TEXTURE, bits=bits, HighBit=high))


def test_compressed_data_has_bits_of_its_own(tmp_path: Path) -> None:
    """A stream of 12 bits needs no HighBit; of one of 16 nobody can say which 12 are meant."""
    expected = decoded(tmp_path, dicom(TEXTURE, bits=12))
    for syntax, encode in (
        (uid.JPEG2000Lossless, lambda pixels, bits: imagecodecs.jpeg2k_encode(
            pixels, level=0, codecformat="j2k", bitspersample=bits)),
        (uid.JPEGLosslessSV1, lambda pixels, bits: imagecodecs.jpeg8_encode(
            pixels, lossless=True, predictor=1, bitspersample=bits)),
    ):  # fmt: skip
        data = dicom(TEXTURE, bits=12, HighBit=15, syntax=syntax, stream=encode(TEXTURE, 12))
        assert (decoded(tmp_path, data) == expected).all()
        data = dicom(TEXTURE, bits=12, HighBit=15, syntax=syntax, stream=encode(TEXTURE << 4, 16))
        assert reason(tmp_path, data).startswith("keeps 12 bits in compressed data of 16")


@pytest.mark.parametrize(
    ("colours", "bits"), [("HSV", 8), ("ARGB", 8), ("CMYK", 8), ("YBR_PARTIAL_422", 8), ("YBR_FULL", 16)]
)
def test_colours_that_are_not_supported_are_not_called_damage(
    tmp_path: Path, colours: str, bits: int
) -> None:
    pixels = RNG.integers(0, 256, (6, 8, 3)).astype(f"u{bits // 8}")
    data = dicom(pixels, PhotometricInterpretation=colours)
    assert reason(tmp_path, data) == f"has colours of an unusual kind ({colours}, {bits} bits)"


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("planes", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_colours_keep_their_upper_byte(tmp_path: Path, bits: int, planes: int, order: str) -> None:
    colours = RNG.integers(0, 1 << bits, (6, 8, 3)).astype(np.uint16)
    stored = np.ascontiguousarray(np.moveaxis(colours, 2, 0)) if planes else colours
    syntax = uid.ExplicitVRLittleEndian if order == "<" else uid.ExplicitVRBigEndian
    content = stored.astype(f"{order}u2").tobytes()
    data = dicom(colours, bits=bits, syntax=syntax, PlanarConfiguration=planes, PixelData=content)
    assert (decoded(tmp_path, data) == colours >> (bits - 8)).all()
