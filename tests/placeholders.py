"""Stand-ins for what nearly every training of a test makes and few tests open: pictures, and .tflite files.

They have the names of the real ones, so that run.json lists them and folders compare as ever; they take a
third of a small training's time. A test about the real ones is marked `exports` or `pictures`; without the
mark, whoever opens a stand-in fails the test.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bccli.core.models import runtimes, tflite_export

EXPORT = tflite_export._made
TFLITE = b"a stand-in: mark the test with @pytest.mark.exports"


def _pixel() -> bytes:
    stream = io.BytesIO()
    Image.new("1", (1, 1)).save(stream, "PNG")
    return stream.getvalue()


PIXEL = _pixel()


def no_pictures(patch: pytest.MonkeyPatch) -> None:
    """Pictures of figures, networks and datasets have one pixel, and a digest of what most would show."""

    def save(figure: Any, target: Any, **options: Any) -> None:
        _write(target, b"".join(_contents(figure)))

    def draw_layers(layers: Any, target: Any) -> None:
        _write(target, repr(list(layers)).encode())

    def draw_preview(root: Path, selection: Any) -> bytes:
        return _picture(repr([selection.samples(label) for label in selection.classes]).encode())

    patch.setattr("matplotlib.figure.Figure.savefig", save)
    patch.setattr("bccli.core.preparation.merge.draw_preview", draw_preview)
    patch.setattr("bccli.core.preparation.merge.draw_stats", lambda *_: PIXEL)
    patch.setattr("bccli.core.training.plots._survives", lambda *_: False)  # so that no process is started
    patch.setattr("bccli.core.models.drawing.draw_layers", draw_layers)


def _picture(contents: bytes) -> bytes:
    return PIXEL + hashlib.sha256(contents).digest()


def _write(target: Any, contents: bytes) -> None:
    if hasattr(target, "write"):
        target.write(_picture(contents))
    else:
        Path(target).write_bytes(_picture(contents))


def _contents(figure: Any) -> Iterator[bytes]:
    """The words, lines, surfaces and images of a figure."""
    for artist in figure.findobj():
        if hasattr(artist, "get_text"):
            yield str(artist.get_text()).encode()
        if hasattr(artist, "get_xydata"):
            yield np.asarray(artist.get_xydata(), dtype=np.float64).tobytes()
        if hasattr(artist, "get_patch_transform"):
            yield artist.get_patch_transform().transform_path(artist.get_path()).vertices.tobytes()
        if hasattr(artist, "get_array") and artist.get_array() is not None:
            yield np.asarray(artist.get_array()).tobytes()
        if hasattr(artist, "get_offsets"):
            yield np.asarray(artist.get_offsets()).tobytes()


def no_exports(patch: pytest.MonkeyPatch) -> None:
    """.tflite files are a line of text."""

    patch.setattr(tflite_export, "_made", lambda *_: (TFLITE, 0.0))


def real_exports(patch: pytest.MonkeyPatch) -> None:
    """.tflite files are real ones, also where they were not."""
    patch.setattr(tflite_export, "_made", EXPORT)


def nobody_opens_them(patch: pytest.MonkeyPatch) -> None:
    """Whoever has LiteRT open such a line fails the test, before TensorFlow answers in its place."""
    start = runtimes.LiteRT.__init__

    def opened(self: runtimes.LiteRT, network: Path | bytes, *rest: Any, **options: Any) -> None:
        if isinstance(network, Path) and network.read_bytes() == TFLITE:
            pytest.fail(f"{network} is {TFLITE.decode()}")
        start(self, network, *rest, **options)

    patch.setattr(runtimes.LiteRT, "__init__", opened)
