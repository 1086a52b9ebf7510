"""Small pictures of prepared images, as they stand in a page: few enough for the page to stay small."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from bccli.core.data.image_batches import pixels_of
from bccli.core.data.manifest import Sample
from bccli.core.errors import BccliError

SIDE = 224
"""Pixels: the longer side of a picture at most."""
BUDGET = 3_000_000
"""Bytes that all pictures of a page may take."""
_QUALITY = 85


class OverlayMaker(Protocol):
    """What draws over an image where a network looked: pixels uint8 (height, width, 3) and a class number in,
    the same with an overlay out, or None where there is none."""

    def __call__(self, pixels: np.ndarray, number: int, /) -> np.ndarray | None: ...


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass
class Album:
    """Pictures as long as there is room for them: `left` bytes. An album without room shows none.

    `shown` and `refused` count pictures, `unreadable` names images that could not be read.
    """

    left: int = BUDGET
    shown: int = 0
    refused: int = 0
    unreadable: list[str] = field(default_factory=list)

    def pixels(self, root: Path, sample: Sample) -> np.ndarray | None:
        """The pixels of a prepared image; None without room, or where it cannot be read, which is noted."""
        if self.left <= 0:
            self.refused += 1
            return None
        try:
            return pixels_of(root, sample)
        except (BccliError, OSError):
            self.unreadable.append(sample.path)
            return None

    def picture(self, pixels: np.ndarray | None) -> Picture | None:
        """A picture of pixels uint8 (height, width, 3)."""
        if pixels is None:
            return None
        image = Image.fromarray(pixels)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_QUALITY)
        uri = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
        if len(uri) > self.left:
            self.left = 0
            self.refused += 1
            return None
        self.left -= len(uri)
        self.shown += 1
        return Picture(uri, image.width, image.height)
