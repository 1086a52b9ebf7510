"""DICOM files to pixels, exactly."""

import io
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import MAX_BYTES, decode

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")  # pytest undoes what the decoder set up

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEEP = np.array([[1000, 1510], [2020, 2030]], np.uint16)
STRETCHED = np.array([[0, 126], [253, 255]], np.uint8)  # (v - 1000) / 1030 · 255, rounded
TEXTURE = RNG.integers(100, 4000, (12, 10), dtype=np.uint16)
SECRET = "Doe^Jane"


def dataset_of(
    pixels: np.ndarray,
    *,
    bits: int | None = None,
    syntax: str = uid.ExplicitVRLittleEndian,
    stream: bytes | None = None,
    **changes: object,
) -> Dataset:
    """A DICOM dataset of these pixels, or of a stream that holds them compressed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalMammographyXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.UID("1.2.840.10008.5.1.4.1.1.1.2"), "1.2.3"
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = pixels.tobytes() + bytes(pixels.nbytes % 2)
    dataset.add_new("PixelData", "OW", encapsulate([stream]) if stream else content)
    dataset["PixelData"].VR = "OB" if stream or pixels.dtype.itemsize == 1 else "OW"
    for name, value in changes.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def dicom(pixels: np.ndarray, **options: object) -> bytes:
    """The same as the bytes of a file."""
    buffer = io.BytesIO()
    dataset_of(pixels, **options).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def decoded(folder: Path, data: bytes, name: str = "x.dcm") -> np.ndarray:
    """What the decoder makes of these bytes."""
    (folder / name).write_bytes(data)
    return decode(folder / name)


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey as RGB."""
    return np.stack([pixels] * 3, axis=2)


def reason(folder: Path, data: bytes, name: str = "x.dcm") -> str:
    """The sentence with which these bytes are refused."""
    with pytest.raises(ImageError) as caught:
        decoded(folder, data, name)
    return str(caught.value)


# Grey


def test_grey_of_8_bits_is_kept_and_not_stretched(tmp_path: Path) -> None:
    pixels = decoded(tmp_path, dicom(GREY // 2 + 20))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels == grey(GREY // 2 + 20)).all()


@pytest.mark.parametrize("bits", [11, 12, 14, 16])
def test_deeper_grey_is_stretched_by_its_own_range(tmp_path: Path, bits: int) -> None:
    assert (decoded(tmp_path, dicom(DEEP, bits=bits)) == grey(STRETCHED)).all()


def test_a_deep_dicom_is_what_the_png_of_the_same_pixels_is(tmp_path: Path) -> None:
    Image.fromarray(TEXTURE).save(tmp_path / "x.png")
    assert (decoded(tmp_path, dicom(TEXTURE, bits=12)) == decode(tmp_path / "x.png")).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_grey_is_stretched(tmp_path: Path, bits: int) -> None:
    pixels = DEEP.astype(np.int16) - 1500
    assert (decoded(tmp_path, dicom(pixels, bits=bits)) == grey(STRETCHED)).all()


def test_the_whole_range_of_signed_16_bits_fits(tmp_path: Path) -> None:
    pixels = np.array([[-32768, 0], [32766, 32767]], np.int16)
    assert (decoded(tmp_path, dicom(pixels))[:, :, 0] == [[0, 128], [255, 255]]).all()


def test_what_lies_above_the_stored_bits_does_not_count(tmp_path: Path) -> None:
    assert (decoded(tmp_path, dicom(DEEP | 0xF000, bits=12)) == grey(STRETCHED)).all()


def test_where_less_is_brighter_grey_is_inverted(tmp_path: Path) -> None:
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    assert (decoded(tmp_path, dicom(GREY, **inverted)) == grey(255 - GREY)).all()
    for pixels in (4095 - DEEP, 500 - DEEP.astype(np.int16)):
        assert (decoded(tmp_path, dicom(pixels, bits=12, **inverted)) == grey(STRETCHED)).all()


def test_only_the_sign_of_the_slope_matters(tmp_path: Path) -> None:
    for slope, expected in ((2.5, DEEP), (0, DEEP), (-1, 4095 - DEEP)):
        data = dicom(expected, bits=12, RescaleSlope=slope, RescaleIntercept=-1024)
        assert (decoded(tmp_path, data) == grey(STRETCHED)).all()
    both = dicom(DEEP, PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1, RescaleIntercept=0)
    assert (decoded(tmp_path, both) == grey(STRETCHED)).all()


def test_fewer_than_8_bits_reach_from_black_to_white(tmp_path: Path) -> None:
    levels = np.array([[0, 1], [2, 3]], np.uint8)
    assert (decoded(tmp_path, dicom(levels, bits=2)) == grey(levels * 85)).all()
    mask = dicom(np.zeros((2, 4), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=b"\xa1\0")
    assert (decoded(tmp_path, mask)[:, :, 0] == [[255, 0, 0, 0], [0, 255, 0, 255]]).all()


def test_8_bits_stored_in_16_and_signed_8_bits_are_not_stretched(tmp_path: Path) -> None:
    assert (decoded(tmp_path, dicom(GREY.astype(np.uint16), bits=8)) == grey(GREY)).all()
    signed = (GREY.astype(np.int16) - 128).astype(np.int8)
    assert (decoded(tmp_path, dicom(signed)) == grey(GREY)).all()


def test_float_pixels_are_stretched(tmp_path: Path) -> None:
    dataset = {"PixelData": None, "FloatPixelData": DEEP.astype(np.float32).tobytes(), "BitsAllocated": 32}
    data = dicom(DEEP, PixelRepresentation=None, BitsStored=None, HighBit=None, **dataset)
    assert (decoded(tmp_path, data) == grey(STRETCHED)).all()


# Colour


def test_colour_is_kept(tmp_path: Path) -> None:
    assert (decoded(tmp_path, dicom(COLOUR)) == COLOUR).all()
    planes = np.ascontiguousarray(np.moveaxis(COLOUR, 2, 0)).tobytes()
    assert (decoded(tmp_path, dicom(COLOUR, PlanarConfiguration=1, PixelData=planes)) == COLOUR).all()


def test_luminance_and_chrominance_become_rgb(tmp_path: Path) -> None:
    stored = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    pixels = decoded(tmp_path, dicom(stored, PhotometricInterpretation="YBR_FULL"))
    assert abs(pixels.astype(int) - COLOUR).max() <= 2


@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_is_looked_up(tmp_path: Path, depth: int) -> None:
    table = np.array([[255, 0, 1], [9, 8, 7], [30, 20, 10], [0, 0, 0]], np.uint8)
    palette: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        entries = table[:, number].astype(np.uint16) * (257 if depth == 16 else 1)
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, depth]
        stored = entries.astype("<u2" if depth == 16 else np.uint8)
        palette[f"{colour}PaletteColorLookupTableData"] = stored.tobytes()
    indices = np.array([[0, 1], [2, 3]], np.uint8)
    assert (decoded(tmp_path, dicom(indices, **palette)) == table[indices]).all()


# Transfer syntaxes


def rle(pixels: np.ndarray) -> bytes:
    dataset = dataset_of(pixels)
    return RLELosslessEncoder.encode(dataset, encoding_plugin="pydicom")


def jpeg2000(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k")


def lossless(pixels: np.ndarray) -> bytes:
    bits = 12 if pixels.dtype == np.uint16 else 8
    return imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)


Encode = Callable[[np.ndarray], bytes]
LOSSLESS: list[tuple[uid.UID, Encode]] = [
    (uid.RLELossless, rle),
    (uid.JPEGLossless, lossless),
    (uid.JPEGLosslessSV1, lossless),
    (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    (uid.JPEGLSNearLossless, imagecodecs.jpegls_encode),
    (uid.JPEG2000Lossless, jpeg2000),
    (uid.JPEG2000, jpeg2000),
]


@pytest.mark.parametrize(("syntax", "encode"), LOSSLESS)
def test_lossless_compression_changes_nothing(tmp_path: Path, syntax: uid.UID, encode: Encode) -> None:
    for pixels, bits in ((GREY, 8), (TEXTURE, 12), (COLOUR, 8)):
        plain = decoded(tmp_path, dicom(pixels, bits=bits))
        data = dicom(pixels, bits=bits, syntax=syntax, stream=encode(pixels))
        assert (decoded(tmp_path, data) == plain).all(), bits


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_signs_survive_compression(tmp_path: Path, syntax: uid.UID) -> None:
    signed = TEXTURE.astype(np.int16) - 2048
    unsigned = (signed & 0x0FFF).astype(np.uint16)
    stream = lossless(unsigned) if syntax == uid.JPEGLosslessSV1 else imagecodecs.jpegls_encode(unsigned)
    data = dicom(signed, bits=12, syntax=syntax, stream=stream)
    assert (decoded(tmp_path, data) == decoded(tmp_path, dicom(signed, bits=12))).all()


@pytest.mark.skipif(not hasattr(imagecodecs, "htj2k_encode"), reason="an older imagecodecs writes none")
@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
def test_high_throughput_jpeg_2000_is_read(tmp_path: Path, syntax: uid.UID) -> None:
    for pixels, bits in ((GREY, 8), (TEXTURE, 12), (TEXTURE.astype(np.int16) - 2048, 12), (COLOUR, 8)):
        stream = imagecodecs.htj2k_encode(np.kron(pixels, LARGER[pixels.ndim]), reversible=True)
        large = np.kron(pixels, LARGER[pixels.ndim])
        data = dicom(large, bits=bits, syntax=syntax, stream=stream)
        assert (decoded(tmp_path, data) == decoded(tmp_path, dicom(large, bits=bits))).all()


# What makes pixels large enough for codecs that want more than a few.
LARGER = {2: np.ones((8, 8), np.uint8), 3: np.ones((8, 8, 1), np.uint8)}


def test_a_baseline_jpeg_is_what_pillow_says(tmp_path: Path) -> None:
    for pixels, options in ((GREY, {}), (COLOUR, {"PhotometricInterpretation": "YBR_FULL_422"})):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        expected = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
        for syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
            data = dicom(pixels, syntax=syntax, stream=buffer.getvalue(), **options)
            assert abs(decoded(tmp_path, data) - expected).max() <= 2  # two roundings of the same formula


def test_a_jpeg_of_12_bits_is_read(tmp_path: Path) -> None:
    stream = imagecodecs.jpeg8_encode(TEXTURE, level=100, bitspersample=12)
    data = dicom(TEXTURE, bits=12, syntax=uid.JPEGExtended12Bit, stream=stream)
    plain = decoded(tmp_path, dicom(TEXTURE, bits=12)).astype(int)
    assert abs(decoded(tmp_path, data) - plain).max() <= 1


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_uncompressed_and_deflated_data_is_read(tmp_path: Path, syntax: uid.UID) -> None:
    pixels = TEXTURE.astype(">u2") if syntax == uid.ExplicitVRBigEndian else TEXTURE
    expected = decoded(tmp_path, dicom(TEXTURE, bits=12))
    assert (decoded(tmp_path, dicom(pixels, bits=12, syntax=syntax)) == expected).all()


def test_a_compression_that_is_not_supported_is_named(tmp_path: Path) -> None:
    data = dicom(GREY, syntax=uid.MPEG4HP41, stream=b"\0" * 20)
    assert reason(tmp_path, data).startswith("is compressed in a way that bccli cannot read (MPEG-4")
    data = data.replace(uid.MPEG4HP41.encode(), SECRET.encode().ljust(len(uid.MPEG4HP41), b"x"))
    assert reason(tmp_path, data) == "is compressed in a way that bccli cannot read (unknown transfer syntax)"


# Which files


def test_the_preamble_decides_and_not_the_name(tmp_path: Path) -> None:
    for name in ("x.png", "IM0001", "x.DICOM"):
        assert (decoded(tmp_path, dicom(GREY), name) == grey(GREY)).all()
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG")
    assert (decoded(tmp_path, buffer.getvalue()) == COLOUR).all()


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_without_a_preamble_the_name_is_needed(tmp_path: Path, syntax: uid.UID) -> None:
    dataset = dataset_of(GREY, syntax=syntax)
    implicit = syntax == uid.ImplicitVRLittleEndian
    del dataset.file_meta
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert (decoded(tmp_path, buffer.getvalue()) == grey(GREY)).all()
    assert reason(tmp_path, buffer.getvalue(), "x.png") == "is not an image that bccli can read"


@pytest.mark.parametrize("data", [b"hello", b"\0" * 500, b"\x08\0\x05\0" * 99, RNG.bytes(2000)])
def test_what_is_only_named_dicom_is_no_image(tmp_path: Path, data: bytes) -> None:
    assert reason(tmp_path, data) == "is not an image that bccli can read"


def test_several_frames_are_no_image(tmp_path: Path) -> None:
    pixels = np.zeros((2, 8), np.uint8)
    said = reason(tmp_path, dicom(pixels, NumberOfFrames=4, Rows=1, Columns=4))
    assert said == "holds 4 frames; one image is needed"
    assert decoded(tmp_path, dicom(GREY, NumberOfFrames=1)).shape == (6, 8, 3)
    assert decoded(tmp_path, dicom(GREY, NumberOfFrames="")).shape == (6, 8, 3)


def test_more_pixel_data_than_one_frame_is_cut(tmp_path: Path) -> None:
    data = dicom(GREY, PixelData=GREY.tobytes() * 2)
    assert (decoded(tmp_path, data) == grey(GREY)).all()


# What cannot be read


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"PixelData": None}, "holds no image"),
        ({"Rows": None}, "is damaged (its DICOM header"),
        ({"Rows": 0}, "has no pixels"),
        ({"BitsAllocated": None}, "is damaged (its pixel data"),
        ({"BitsAllocated": 13}, "is damaged (its pixel data"),
        ({"PhotometricInterpretation": "SECRET"}, "is damaged (its pixel data"),
        ({"PixelData": b"\0\0"}, "is damaged (its pixel data"),
        ({"Rows": 50_000, "Columns": 50_000}, "is too large (50000×50000 pixels; the limit is"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, changes: dict, expected: str) -> None:
    assert reason(tmp_path, dicom(GREY, **changes)).startswith(expected)


@pytest.mark.parametrize(
    ("syntax", "encode"), [(uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode), *LOSSLESS[1:]]
)
def test_a_stream_of_another_size_is_refused(tmp_path: Path, syntax: uid.UID, encode: Encode) -> None:
    data = dicom(GREY, syntax=syntax, stream=encode(np.zeros((40, 50), np.uint8)))
    assert reason(tmp_path, data) == "is damaged (a header of 8×6 and pixel data of 50×40 pixels)"


def test_deflated_content_grows_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bccli.core.imaging.formats.decoding.MAX_BYTES", 100_000)
    pixels = np.zeros((1000, 1000), np.uint8)
    data = dicom(pixels, syntax=uid.DeflatedExplicitVRLittleEndian)
    assert len(data) < 3000
    assert "grows beyond 100,000 bytes" in reason(tmp_path, data)
    monkeypatch.setattr("bccli.core.imaging.formats.decoding.MAX_BYTES", MAX_BYTES)
    assert decoded(tmp_path, data).shape == (1000, 1000, 3)


def test_a_header_that_promises_too_much_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    data = dicom(GREY, Rows=50_000, Columns=50_000)
    reason(tmp_path, data)  # what is imported once does not count
    tracemalloc.start()
    started = time.process_time()
    reason(tmp_path, data)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    assert seconds < 0.5


CUT = {
    "plain": dicom(TEXTURE, bits=12),
    "implicit": dicom(COLOUR, syntax=uid.ImplicitVRLittleEndian),
    "deflated": dicom(TEXTURE, bits=12, syntax=uid.DeflatedExplicitVRLittleEndian),
    **{str(s): dicom(TEXTURE, bits=12, syntax=s, stream=encode(TEXTURE)) for s, encode in LOSSLESS},
}


def outcome(folder: Path, data: bytes) -> np.ndarray | str:
    """The pixels, or the sentence with which these bytes are refused."""
    try:
        return decoded(folder, data)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("kind", CUT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), wrong=st.binary(min_size=1, max_size=4))
def test_a_file_cut_or_damaged_anywhere_is_refused_or_whole(
    tmp_path: Path, kind: str, share: float, wrong: bytes
) -> None:
    data, whole = CUT[kind], outcome(tmp_path, CUT[kind])
    place = int(share * len(data))
    cut = outcome(tmp_path, data[:place])
    assert isinstance(cut, str) or cut.shape == whole.shape
    changed = outcome(tmp_path, data[:place] + wrong + data[place + len(wrong) :])
    for said in (said for said in (cut, changed) if isinstance(said, str)):
        assert SECRET not in said
        assert "\n" not in said


def test_nothing_about_the_patient_and_no_warning_is_ever_printed(tmp_path: Path) -> None:
    """In a process of its own: pytest has its own way with warnings."""
    odd = {"SpecificCharacterSet": "nonsense", "PixelData": GREY.tobytes() * 3, "RescaleSlope": 1}
    good = dicom(GREY, **odd)
    (tmp_path / "good.dcm").write_bytes(good)
    (tmp_path / "bad.dcm").write_bytes(good[: len(good) - 150])
    (tmp_path / "name.dcm").write_bytes(good.replace(b"MONOCHROME2 ", SECRET.encode().ljust(12)))
    program = """
import logging, sys
from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import decode
logging.basicConfig(level=logging.DEBUG)
for name in sys.argv[1:]:
    try:
        print(decode(name).shape)
    except ImageError as error:
        print(error)
"""
    names = [str(tmp_path / name) for name in ("good.dcm", "bad.dcm", "name.dcm")]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program, *names], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 3
    assert "Jane" not in done.stdout
