"""What `predict --explain` adds to an answer: the peak of the map, whether a mask holds it, and an overlay.

A mask turns the peaks into the pointing game of Zhang et al. 2018, "Top-down Neural Attention by Excitation
Backprop", DOI 10.1007/s11263-017-1059-x: a peak inside of it is a hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.errors import ImageError
from bccli.core.files import write_into
from bccli.core.imaging.formats.encoding import encode_png
from bccli.core.imaging.opencv import load_cv2
from bccli.core.metrics.limits import wilson
from bccli.core.prediction.maps.class_activation import peak_of
from bccli.core.prediction.maps.heat import Canvas, Heat, canvas_of, mean_heat
from bccli.core.prediction.maps.overlay import overlay, overlay_name, picture_of
from bccli.core.prediction.masks import Masks

if TYPE_CHECKING:
    from bccli.core.detection.boxes import ScoredBox

SURE = 0.5
"""From this probability on, a detector's box is drawn."""
PEAK_COLUMNS, MASK_COLUMN = ("peak_x", "peak_y"), "inside_mask"
INDEX = "index.html"


@dataclass(frozen=True)
class PackedMask:
    """A mask of a raw image, a bit for each pixel."""

    bits: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> "PackedMask":
        """Of a mask (height, width), in which all but 0 counts."""
        return cls(np.packbits(mask > 0), (mask.shape[0], mask.shape[1]))

    def holds(self, column: int, row: int) -> bool:
        """Whether a pixel is marked."""
        index = row * self.shape[1] + column
        return bool(self.bits[index // 8] >> (7 - index % 8) & 1)

    def at(self, size: tuple[int, int]) -> np.ndarray:
        """The mask at a size (width, height), all but 0 where at least some of it is marked."""
        height, width = self.shape
        mask = np.unpackbits(self.bits, count=height * width).reshape(height, width) * np.uint8(255)
        shown: np.ndarray = load_cv2().resize(mask, size, interpolation=load_cv2().INTER_AREA)
        return shown

    @property
    def share(self) -> float:
        """Of how much of the image it marks."""
        return float(np.bitwise_count(self.bits).sum()) / (self.shape[0] * self.shape[1])


@dataclass(frozen=True)
class ShownImage:
    """A raw image as it is shown, a picture uint8 (height, width, 3) on a canvas, and its mask, if any."""

    canvas: Canvas
    picture: np.ndarray
    mask: PackedMask | None = None


@dataclass(frozen=True)
class Explanation:
    """What was found in an image: the overlay's file, the peak (column, row) in pixels of the raw image, None
    where nothing speaks for the class; with a mask whether the peak is inside, the share of the image that
    the mask marks, and whether the middle of the image is inside."""

    overlay: str
    peak: tuple[int, int] | None
    inside: bool | None = None
    mask_share: float | None = None
    middle_inside: bool | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the contract."""
        peak = dict(zip(PEAK_COLUMNS, self.peak or (None, None), strict=True))
        return {**peak, MASK_COLUMN: self.inside}

    def to_json(self) -> dict[str, Any]:
        """As files of rows keep it."""
        return asdict(self)


@dataclass
class PointingGame:
    """How many of the peaks in `images` with a mask are inside it, and what guesses would come to: the mean
    share of an image that its mask marks is what a guess anywhere hits, and the middle is a guess, too."""

    images: int = 0
    hits: int = 0
    shares: float = 0.0
    middles: int = 0

    def add(self, facts: Mapping[str, Any]) -> None:
        """Count an image by what `Explanation.to_json` says of it."""
        if facts["inside"] is not None:
            self.images += 1
            self.hits += facts["inside"]
            self.shares += facts["mask_share"]
            self.middles += facts["middle_inside"]

    def sentence(self) -> str:
        """The hit rate with its 95 % interval over images (Wilson), beside both guesses."""
        rate, anywhere, middle = (value / self.images for value in (self.hits, self.shares, self.middles))
        low, high = wilson(rate, self.images)
        return (
            f"the peak lies inside the mask in {self.hits:,} of {self.images:,} images with a mask "
            f"({rate:.2f}, 95 % interval over images {low:.2f} to {high:.2f}); a guess anywhere would hit "
            f"{anywhere:.2f}, and the middle of the image hits {middle:.2f}"
        )


@dataclass(frozen=True)
class Explaining:
    """How images are explained: overlays go to a folder; `masks`, where there are any, mark what is to be
    found."""

    folder: Path
    masks: Masks | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The further columns of each image."""
        return (*PEAK_COLUMNS, MASK_COLUMN) if self.masks else PEAK_COLUMNS

    def show(self, raw: np.ndarray, path: str) -> ShownImage:
        """The picture of a raw image, and its mask, where it has one that can be used."""
        canvas = canvas_of((raw.shape[0], raw.shape[1]))
        return ShownImage(canvas, picture_of(raw, canvas), self._mask(path, canvas.shape))

    def _mask(self, path: str, shape: tuple[int, int]) -> PackedMask | None:
        if self.masks is None or not self.masks.holds(path):
            return None
        try:
            return PackedMask.of(self.masks.load(path, shape))
        except ImageError:
            return None

    def explain(
        self,
        path: str,
        shown: ShownImage,
        heats: Sequence[Heat],
        boxes: "Sequence[ScoredBox] | None" = None,
    ) -> Explanation:
        """Write the overlay of an image, and say what its map has found.

        The map of a detector, which has `boxes`, is one of probabilities: it is shown as strong as it is, and
        the boxes that are surer than not stand out.
        """
        canvas, mask = shown.canvas, shown.mask
        found = mean_heat(heats, canvas)
        on_picture = peak_of(found) if found.max() > 0 else None
        name = overlay_name(path)
        marked = mask.at(canvas.size) if mask else None
        sure = [canvas.of_raw(one.box) for one in boxes or () if one.score >= SURE]
        largest = None if boxes is None else 1.0  # of a mean of maps that are shares of it
        painted = overlay(shown.picture, found, on_picture, marked, largest=largest, boxes=sure)
        write_into(self.folder, name, encode_png(painted))
        peak = canvas.to_raw(*on_picture) if on_picture else None
        if mask is None:
            return Explanation(name, peak)
        height, width = canvas.shape
        inside = mask.holds(*peak) if peak else False
        return Explanation(name, peak, inside, mask.share, mask.holds(width // 2, height // 2))
