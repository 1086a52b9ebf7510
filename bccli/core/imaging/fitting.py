"""Bringing images to one size."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.opencv import load_cv2

Size = tuple[int, int]

# What an image may grow to on the way to its size.
MAX_PIXELS = 2**26


@dataclass(frozen=True)
class _Filter:
    """How pixels are made of others: Pillow's filter for colours, OpenCV's for grey, by their names there.

    Without the latter Pillow's is taken for grey, too.
    """

    pillow: str
    opencv: str = ""


# Masks are resized like images by `nearest`, so that both stay in register.
_FILTERS = {
    "nearest": _Filter("NEAREST"),
    "linear": _Filter("BILINEAR", "INTER_LINEAR"),
    "area": _Filter("BOX", "INTER_AREA"),
    "cubic": _Filter("BICUBIC", "INTER_CUBIC"),
    "lanczos": _Filter("LANCZOS", "INTER_LANCZOS4"),
}
AUTO, NEAREST = "auto", "nearest"
INTERPOLATIONS = (AUTO, *_FILTERS)
"""What `--interpolation` names; auto is `area` where an image shrinks both ways, and else `cubic`."""


def stretch(image: np.ndarray, size: Size, *, interpolation: str = AUTO) -> np.ndarray:
    """Resize to `size` (width, height), whatever the aspect ratio, by one of `INTERPOLATIONS`.

    `auto` is the choice of the CBIS-DDSM paper, section 4.3.1; masks take `nearest`. Grey images (height,
    width) are OpenCV's work, as in that paper, colours Pillow's.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    if interpolation == AUTO:
        interpolation = "area" if size[0] <= width and size[1] <= height else "cubic"
    chosen = _FILTERS[interpolation]
    if image.ndim == 2 and chosen.opencv:
        cv2 = load_cv2()
        flag = getattr(cv2, chosen.opencv)
        resized: np.ndarray = cv2.resize(np.ascontiguousarray(image), size, interpolation=flag)
        return resized
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling[chosen.pillow]))


def pad(image: np.ndarray, size: Size, *, interpolation: str = AUTO) -> np.ndarray:
    """Resize to fit inside `size` (width, height) and fill the rest with black, the image in the middle."""
    scaled = _scaled_by(min, image, size, interpolation)
    height, width = scaled.shape[:2]
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    result = np.zeros((size[1], size[0], *image.shape[2:]), image.dtype)
    result[top : top + height, left : left + width] = scaled
    return result


def crop(image: np.ndarray, size: Size, *, interpolation: str = AUTO) -> np.ndarray:
    """Resize to cover `size` (width, height) and cut away what stands out, the middle kept."""
    scaled = _scaled_by(max, image, size, interpolation)
    left, top = (scaled.shape[1] - size[0]) // 2, (scaled.shape[0] - size[1]) // 2
    return np.ascontiguousarray(scaled[top : top + size[1], left : left + size[0]])


def _scaled_by(choose: Callable[..., float], image: np.ndarray, size: Size, interpolation: str) -> np.ndarray:
    height, width = image.shape[:2]
    target = _target(choose, (width, height), size)
    if target[0] * target[1] > MAX_PIXELS:
        raise ImageError(f"is too narrow ({width}×{height}) to fill {size[0]}×{size[1]}")
    return stretch(image, target, interpolation=interpolation)


def _target(choose: Callable[..., float], raw: Size, size: Size) -> Size:
    """The size to which a raw image is scaled."""
    factor = choose(size[0] / raw[0], size[1] / raw[1])
    return max(1, round(raw[0] * factor)), max(1, round(raw[1] * factor))


def raw_point(point: tuple[float, float], fit: str, raw: Size, size: Size) -> tuple[float, float]:
    """The point in an image of the size `raw` that becomes (x, y) in the fitted one of `size`."""
    choose = _CHOICES.get(fit)
    target = _target(choose, raw, size) if choose else size
    # what was added or cut away on the left and at the top, as `pad` and `crop` round it
    offsets = (
        (whole - wanted) // 2 if whole >= wanted else -((wanted - whole) // 2)
        for whole, wanted in zip(size, target, strict=True)
    )
    x, y = (
        (value - offset) * full / wanted
        for value, offset, full, wanted in zip(point, offsets, raw, target, strict=True)
    )
    return x, y


def cut_centre(image: np.ndarray, size: Size) -> np.ndarray:
    """The middle `size` (width, height) of an image or mask. Raises ImageError where it is smaller."""
    height, width = image.shape[:2]
    if width < size[0] or height < size[1]:
        raise ImageError(f"is smaller ({width}×{height}) than the centre to cut out ({size[0]}×{size[1]})")
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return image[top : top + size[1], left : left + size[0]]


FITS: dict[str, Callable[..., np.ndarray]] = {"stretch": stretch, "pad": pad, "crop": crop}
_CHOICES: dict[str, Callable[..., float]] = {"pad": min, "crop": max}


def fit_mask(mask: np.ndarray, fit: str, size: Size) -> np.ndarray:
    """A mask uint8 (height, width) as its image is fitted to `size` (width, height), pixel by nearest pixel.

    What is so small that it would lie between the pixels is widened first, so that something of it is left,
    unless `crop` cuts it away.
    """
    fitted = FITS[fit](mask, size, interpolation=NEAREST)
    if fitted.any() or not mask.any():
        return fitted
    choose, raw = _CHOICES.get(fit), (mask.shape[1], mask.shape[0])
    target = _target(choose, raw, size) if choose else size
    across, down = (math.ceil(full / wanted) for full, wanted in zip(raw, target, strict=True))
    widened = load_cv2().dilate(mask, np.ones((2 * down - 1, 2 * across - 1), np.uint8))
    return FITS[fit](widened, size, interpolation=NEAREST)
