"""bccli's own operations: those that imgaug lacks, and fast ones of the same names and pixels as imgaug's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bccli.core.augmentation import geometry
from bccli.core.imaging.opencv import load_cv2

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """The values that a parameter may have; one with a `default` may be left out.

    Numbers lie between `low` and `high`, and are whole where `whole` says so. Where there are `words`, only
    these are allowed.
    """

    low: float = 0.0
    high: float = 0.0
    default: Any = None
    whole: bool = False
    words: tuple[str, ...] = ()


@dataclass
class Picture:
    """An image on its way through a policy.

    `pixels` are (height, width, 3), or (height, width) while all channels are equal; `mask` is
    (height, width) or None. `pending` is a movement that has been decided on but not yet made.
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None
    pending: geometry.Matrix | None = None

    @property
    def size(self) -> geometry.Size:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def move(self, matrix: geometry.Matrix) -> None:
        """Have a movement made, in one step with what was decided on before."""
        self.pending = matrix if self.pending is None else self.pending @ matrix

    def settle(self) -> None:
        """Make the movement that is pending; outside of an image lies the nearest pixel of its edge."""
        if self.pending is None:
            return
        matrix, self.pending = self.pending[:2], None
        self.pixels = _warp(self.pixels, matrix, "INTER_LINEAR")
        if self.mask is not None:
            self.mask = _warp(self.mask, matrix, "INTER_NEAREST")

    def change_both(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Do the same to the image and its mask."""
        self.settle()
        self.pixels = change(self.pixels)
        if self.mask is not None:
            self.mask = change(self.mask)

    def rgb(self) -> np.ndarray:
        """The pixels in three channels, nothing pending."""
        self.settle()
        if self.pixels.ndim == 2:
            self.pixels = load_cv2().cvtColor(self.pixels, load_cv2().COLOR_GRAY2RGB)
        return self.pixels


def _warp(pixels: np.ndarray, matrix: np.ndarray, interpolation: str) -> np.ndarray:
    cv2 = load_cv2()
    flags = getattr(cv2, interpolation) | cv2.WARP_INVERSE_MAP
    size = pixels.shape[1], pixels.shape[0]
    return cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _moves(movement: Callable[..., geometry.Matrix]) -> Callable[[Picture, Values], None]:
    return lambda picture, values: picture.move(movement(picture.size, **values))


def _flip(code: int) -> Callable[[Picture, Values], None]:
    return lambda picture, values: picture.change_both(lambda pixels: load_cv2().flip(pixels, code))


def _turn(picture: Picture, values: Values) -> None:
    """Quarter turns against the clock, as np.rot90; of an image that is not square, half a turn instead."""
    quarters = values["k"] % 4
    if quarters % 2 and picture.size[0] != picture.size[1]:
        quarters = 2
    if quarters:
        cv2 = load_cv2()
        code = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)[quarters - 1]
        picture.change_both(lambda pixels: cv2.rotate(pixels, code))


def _multiply(picture: Picture, values: Values) -> None:
    picture.settle()
    levels = np.arange(256, dtype=np.float32) * np.float32(values["mul"])
    picture.pixels = load_cv2().LUT(picture.pixels, np.clip(levels, 0, 255).astype(np.uint8))


def _equalise(picture: Picture, values: Values) -> None:
    cv2 = load_cv2()
    picture.settle()
    if picture.pixels.ndim == 2:
        picture.pixels = cv2.equalizeHist(picture.pixels)
    else:
        picture.pixels = cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(picture.pixels)])


def _scale_stains(picture: Picture, values: Values) -> None:
    from bccli.core.imaging.stains.deconvolution import scale_stains

    factors = values["haematoxylin"], values["eosin"]
    picture.pixels = scale_stains(picture.rgb(), factors, keep_glass=True)


@dataclass(frozen=True)
class Own:
    """One operation of ours: what it does to a picture with the values drawn, and its parameters."""

    act: Callable[[Picture, Values], None]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


OWN = {
    "InnerRotate": Own(_moves(geometry.inner_rotation), {"rotate": Parameter(-180, 180)}),
    "InnerShear": Own(
        _moves(geometry.inner_shear),
        {
            "shear": Parameter(-60, 60),
            "axis": Parameter(default={"choice": ["x", "y"]}, words=("x", "y")),
        },
    ),
    "Zoom": Own(_moves(geometry.zoom), {"factor": Parameter(0.1, 10)}),
    "KerasZoom": Own(
        _moves(geometry.keras_zoom), {"zoom_x": Parameter(0.1, 10), "zoom_y": Parameter(0.1, 10)}
    ),
    "Stains": Own(_scale_stains, {"haematoxylin": Parameter(0, 10), "eosin": Parameter(0, 10)}),
    "Fliplr": Own(_flip(1)),
    "Flipud": Own(_flip(0)),
    "Rot90": Own(_turn, {"k": Parameter(-3, 3, whole=True)}),
    "Multiply": Own(_multiply, {"mul": Parameter(0, 255)}),
    "AllChannelsHistogramEqualization": Own(_equalise),
}
"""Every operation that is ours, by its name in a policy."""

GROUPS = {"OneOf": {}, "SomeOf": {"n": Parameter(0, 100, whole=True)}, "Sequential": {}}
"""Operations made of others (`children`): a group applies one, `n` in their order, or all of them."""
