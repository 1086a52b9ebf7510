"""Seeds, mutants and settings of the tests that give readers damaged files.

A few hundred mutants are read in the default suite; `pytest -m full` reads so many of each kind that all take
an hour or so.
"""

import io
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
MANY = settings(FEW, max_examples=20_000, derandomize=False)

BYTES = (
    b"\0",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\x01\0",
    b"\0\x01",
)


@st.composite
def damaged(draw: st.DrawFn, seed: bytes) -> bytes:
    """A file with bytes replaced, inserted, removed or moved, or cut short."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        piece = draw(st.sampled_from(BYTES) | st.binary(max_size=8) | st.just(data[: end - start]))
        data = data[:start] + piece + data[end if draw(st.booleans()) else start + len(piece) :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


def picture(format: str, mode: str = "RGB", **options: Any) -> bytes:
    """A small image file."""
    shape = (12, 16, 3) if mode == "RGB" else (12, 16)
    pixels = np.random.default_rng(0).integers(0, 65536 if mode == "I;16" else 256, shape)
    image = Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.uint8))
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def film() -> bytes:
    """A small DICOM file."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns, data.SamplesPerPixel = 12, 16, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = np.arange(192, dtype="<u2").tobytes()
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


PICTURES = {
    "png": lambda: picture("PNG"),
    "16.png": lambda: picture("PNG", "I;16"),
    "jpg": lambda: picture("JPEG"),
    "progressive.jpg": lambda: picture("JPEG", progressive=True),
    "tif": lambda: picture("TIFF"),
    "lzw.tif": lambda: picture("TIFF", compression="tiff_lzw"),
    "16.tif": lambda: picture("TIFF", "I;16"),
    "bmp": lambda: picture("BMP"),
    "pgm": lambda: picture("PPM", "L"),
    "ppm": lambda: picture("PPM"),
    "gif": lambda: picture("GIF", "L"),
    "webp": lambda: picture("WEBP"),
    "jp2": lambda: picture("JPEG2000"),
    "dcm": film,
}
"""Images of every kind that bccli reads, made on the spot."""
