"""The steps from a raw image to the input of a model; `prepare` and `predict` both call this."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.denoising import Denoising, denoise
from bccli.core.imaging.equalising import Box, Clahe
from bccli.core.imaging.film_edges import without_edge
from bccli.core.imaging.fitting import AUTO, FITS, INTERPOLATIONS, cut_centre, fit_mask, raw_point
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.formats.decoding import MAX_PIXELS
from bccli.core.imaging.regions import Region, check_aspect, find_region
from bccli.core.reading.json_types import Positive, Share, Side, misfit

if TYPE_CHECKING:
    from bccli.core.imaging.patches import Position
    from bccli.core.imaging.stains.fits import Fit


@dataclass(frozen=True)
class Stain:
    """Stain normalisation by a row of `imaging.stain.STAINS` to a target, None until it is learned."""

    method: str
    target: "Fit | None" = None


@dataclass(frozen=True)
class Patches:
    """Square patches of `size` pixels, `stride` apart, of every image.

    Only those count whose share of tissue, of nuclei and, on films, of breast is as large as asked. With
    `to_edges`, no strip at the right and bottom edge is left out.
    """

    size: int
    stride: int
    tissue: float = 0.0
    nuclei: float = 0.0
    breast: float = 0.0
    to_edges: bool = False


MEAN = "mean"
"""In place of a size: the mean width and height of the images, still to be learned."""


@dataclass(frozen=True)
class Preparation:
    """The steps between a decoded image and a model.

    They are taken in this order. With `clahe`, a `region` or `denoise` the image becomes 8-bit grey; its
    contrast is equalised and its region found; what has another `aspect` (width over height, from and to)
    is excluded. The stain of the whole image is normalised, patches are cut, and each is brought to `size`
    (width, height) in pixels, or keeps its own where that is None; `fit` names a row of FITS, and
    `interpolation` is one of INTERPOLATIONS. Of that the `centre` (width, height) is cut out, and noise
    removed from it. With `trim_edge`, the saturated white
    edge of a film neither stretches grey levels nor belongs to a region.
    """

    stain: Stain | None = None
    patches: Patches | None = None
    size: tuple[int, int] | Literal["mean"] | None = None
    fit: str = "stretch"
    interpolation: str = AUTO
    clahe: Clahe | None = None
    region: Region | None = None
    aspect: tuple[float, float] | None = None
    centre: tuple[int, int] | None = None
    denoise: Denoising | None = None
    trim_edge: bool = False

    @property
    def in_grey(self) -> bool:
        """Whether it has a step for mammograms, which are grey."""
        return any(step is not None for step in (self.clahe, self.denoise, self.region))

    @property
    def pads(self) -> bool:
        """Whether black is added where an image has another aspect ratio than its size."""
        return self.fit == "pad" and self.size is not None

    def to_json(self) -> dict[str, Any]:
        """As stored in dataset.json and run.json; steps that are not taken are left out."""
        size = list(self.size) if isinstance(self.size, tuple) else self.size
        steps: dict[str, Any] = {"size": size, "fit": self.fit}
        if self.interpolation != AUTO:
            steps["interpolation"] = self.interpolation
        if self.stain:
            from bccli.core.imaging.stains.fits import fit_to_json

            target = self.stain.target
            steps["stain"] = self.stain.method
            steps["stain_target"] = fit_to_json(target) if target else None
        if self.patches:
            steps["patch"], steps["stride"] = self.patches.size, self.patches.stride
            further = {name: getattr(self.patches, name) for name in _OF_PATCHES}
            steps |= {name: value for name, value in further.items() if value}
        return steps | self._mammography()

    def _mammography(self) -> dict[str, Any]:
        steps: dict[str, Any] = {"trim_edge": True} if self.trim_edge else {}
        for name in _NUMBERED:
            if (numbers := getattr(self, name)) is not None:
                steps |= {name: True, **{f"{name}_{key}": value for key, value in asdict(numbers).items()}}
        if self.region:
            steps["roi"], steps["margin"] = self.region.roi, self.region.margin
            steps |= {"context": self.region.context} if self.region.context else {}
        pairs = {"aspect": self.aspect, "center_crop": self.centre}
        return steps | {name: list(pair) for name, pair in pairs.items() if pair}


_ROIS = ("crop", "mask")
_OF_PATCHES = ("tissue", "nuclei", "breast", "to_edges")
"""What patches may have besides size and stride."""
_NUMBERED: dict[str, type[Clahe] | type[Denoising]] = {"clahe": Clahe, "denoise": Denoising}
"""The steps that are on or off and have numbers, which stand behind them as STEP_NUMBER."""
_KNOWN = {
    *("size", "fit", "interpolation", "stain", "stain_target", "patch", "stride", "tissue", "nuclei"),
    *("roi", "margin", "context", "aspect", "center_crop", "trim_edge", "breast", "to_edges"),
    *(f"{name}_{entry.name}" for name, record in _NUMBERED.items() for entry in fields(record)),
    *_NUMBERED,
}


def preparation_from_json(value: dict[str, Any]) -> Preparation:
    """Read what `Preparation.to_json` wrote.

    Raises DataError for steps that this version does not know, and for any that lack something.
    """
    try:
        return _steps_from_json(value)
    except (KeyError, IndexError, TypeError, ValueError):
        raise DataError(
            "'preparation' in dataset.json or run.json is not what bccli writes there; prepare the dataset "
            "again, or copy the run's whole folder again"
        ) from None


def learned_preparation(value: dict[str, Any]) -> Preparation:
    """Read the preparation of a finished dataset or run. Raises DataError where it still has to learn."""
    found = preparation_from_json(value)
    if found.size == MEAN or (found.stain and found.stain.target is None):
        raise DataError("the preparation has a size or stain target still to be learned; make it again")
    return found


class _Steps(TypedDict, total=False):
    """The types of the steps as JSON has them; further rules are below."""

    size: tuple[Side, Side] | Literal["mean"] | None
    fit: str
    interpolation: str
    stain: str
    stain_target: Mapping[str, tuple[float, ...]] | None
    patch: Side
    stride: Side
    tissue: Share
    nuclei: Share
    breast: Share
    to_edges: bool
    clahe: bool
    clahe_clip: Annotated[float, lambda value: 0 <= value <= 1e6]
    clahe_tiles: Annotated[int, lambda value: 1 <= value <= 1000]
    denoise: bool
    denoise_strength: Annotated[float, lambda value: 0 <= value <= 1e6]
    denoise_template: Annotated[int, lambda value: 1 <= value <= 1000]
    denoise_search: Annotated[int, lambda value: 1 <= value <= 1000]
    roi: str
    margin: Annotated[int, lambda value: 0 <= value <= 10**6]
    context: Annotated[float, lambda value: 0 <= value <= 10**3]
    aspect: tuple[Positive, Positive]
    center_crop: tuple[Side, Side]
    trim_edge: bool


def _steps_from_json(value: dict[str, Any]) -> Preparation:
    if misfit(value, _Steps, "preparation"):
        raise TypeError
    if unknown := set(value) - _KNOWN:
        raise DataError(f"the preparation step {min(unknown)!r} is not known to this bccli; update it")
    for name, known in (("fit", FITS), ("roi", _ROIS), ("interpolation", INTERPOLATIONS)):
        if name in value and value[name] not in known:
            raise DataError(f"the preparation's {name} {value[name]!r} is not known to this bccli; update it")
    size = value["size"]
    if isinstance(size, list) and size[0] * size[1] > MAX_PIXELS:
        raise ValueError
    return Preparation(
        stain=_stain_from_json(value),
        patches=_patches_from_json(value),
        size=size if size in (None, MEAN) else (int(size[0]), int(size[1])),
        fit=value["fit"],
        interpolation=value.get("interpolation", AUTO),
        clahe=_numbered(value, "clahe"),
        denoise=_numbered(value, "denoise"),
        trim_edge=value.get("trim_edge", False),
        region=Region(value["roi"], value["margin"], value.get("context", 0.0)) if "roi" in value else None,
        aspect=_pair(value, "aspect"),
        centre=_pair(value, "center_crop"),
    )


def _patches_from_json(value: dict[str, Any]) -> Patches | None:
    if "patch" not in value:
        return None
    further = {name: value[name] for name in _OF_PATCHES if name in value}
    return Patches(value["patch"], value["stride"], **further)


def _numbered(value: dict[str, Any], name: str) -> Any:
    """A step with its numbers, of which those that are not there are the usual ones."""
    if not value.get(name):
        return None
    known = {entry.name: f"{name}_{entry.name}" for entry in fields(_NUMBERED[name])}
    return _NUMBERED[name](**{entry: value[key] for entry, key in known.items() if key in value})


def _pair(value: dict[str, Any], name: str) -> Any:
    return (value[name][0], value[name][1]) if name in value else None


def _stain_from_json(value: dict[str, Any]) -> Stain | None:
    if "stain" not in value:
        return None
    from bccli.core.imaging.stains.fits import fit_from_json
    from bccli.core.imaging.stains.normalisation import STAINS

    if value["stain"] not in STAINS:
        raise DataError(f"the stain method {value['stain']!r} is not known to this bccli; update it")
    target = value.get("stain_target")
    return Stain(value["stain"], fit_from_json(STAINS[value["stain"]].kind, target) if target else None)


@dataclass(frozen=True)
class Piece:
    """A prepared image (height, width, 3) and its mask (height, width) or None; for a region also its box.

    A patch has a mask where its image's mask marks something in it; `row` and `col` are its top-left corner
    in the image. `box` is the position of a region in the raw image, in pixels.
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    row: int | None = None
    col: int | None = None
    box: Box | None = None


@dataclass(frozen=True)
class PreparedImage:
    """A raw image after all steps: itself or its patches, and whether its stain could be measured."""

    patches: Iterator[Piece] = field(repr=False)
    stained: bool = True


def prepare_image(
    image: np.ndarray, preparation: Preparation, mask: np.ndarray | None = None
) -> PreparedImage:
    """Take a raw image, as `decode_deep` gives it, and its mask (height, width) through all steps.

    Raises ImageError, at once or while the patches are taken, for an image that is too small or narrow, and
    ExcludedError for one that the method leaves out.
    """
    piece, stained, film = _take_region(image, preparation, mask), True, image
    if preparation.stain:
        from bccli.core.imaging.stains.normalisation import normalise_stain

        if preparation.stain.target is None:
            raise ValueError("the stain target has not been learned")
        image, stained = normalise_stain(piece.image, preparation.stain.method, preparation.stain.target)
        piece = replace(piece, image=image)
    patches = _cut(piece, preparation.patches, film) if preparation.patches else iter([piece])
    return PreparedImage((_finish(piece, preparation) for piece in patches), stained)


def _take_region(image: np.ndarray, preparation: Preparation, mask: np.ndarray | None) -> Piece:
    """The image, or the region of it, in RGB, or in grey where it has steps to come that are for grey."""
    if preparation.in_grey:
        found = find_region(
            image, mask, preparation.region, clahe=preparation.clahe, trim_edge=preparation.trim_edge
        )
        piece = Piece(found.image, found.mask, box=found.box)
    else:
        is_film = preparation.trim_edge and image.ndim == 2 and image.dtype != np.uint8
        piece = Piece(to_rgb(without_edge(image)[0] if is_film else image), mask)
    if preparation.aspect:
        check_aspect(piece.image, preparation.aspect)
    return piece


def raw_box(box: Box, preparation: Preparation, shape: tuple[int, int]) -> Box:
    """The region of a raw image of this shape (height, width) that a box in the prepared one shows.

    The preparation has neither a region nor patches. A box in what was padded shows the whole image.
    """
    height, width = shape
    x, y, right, bottom = _raw_corners(box, preparation, shape)
    found = Box(max(round(x), 0), max(round(y), 0), min(round(right), width), min(round(bottom), height))
    return found if found.left < found.right and found.top < found.bottom else Box(0, 0, width, height)


def raw_rectangle(
    preparation: Preparation, size: tuple[int, int], shape: tuple[int, int], box: Box | None = None
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in a raw image of this shape (height, width) of what a whole prepared image
    of this size (width, height) shows; beyond the image where it was padded.

    `box` is where a region was cut out of the raw image. The preparation has no patches.
    """
    box = box or Box(0, 0, shape[1], shape[0])
    inner = (box.bottom - box.top, box.right - box.left)
    left, top, right, bottom = _raw_corners(Box(0, 0, *size), preparation, inner)
    return box.left + left, box.top + top, box.left + right, box.top + bottom


def _raw_corners(
    box: Box, preparation: Preparation, shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Where a box in the prepared image is in the raw one of this shape (height, width)."""
    height, width = shape
    size = preparation.size if isinstance(preparation.size, tuple) else (width, height)
    left, top = (
        ((whole - inner) // 2 for whole, inner in zip(size, preparation.centre, strict=True))
        if preparation.centre
        else (0, 0)
    )
    corners = ((box.left + left, box.top + top), (box.right + left, box.bottom + top))
    (x, y), (right, bottom) = (
        raw_point(corner, preparation.fit, (width, height), size) for corner in corners
    )
    return x, y, right, bottom


def region_size(
    image: np.ndarray, preparation: Preparation, mask: np.ndarray | None = None
) -> tuple[int, int]:
    """Width and height of the image, or of its region, before it is brought to a size.

    Raises as `prepare_image`.
    """
    height, width = _take_region(image, replace(preparation, clahe=None), mask).image.shape[:2]
    return width, height


def _cut(whole: Piece, patches: Patches, film: np.ndarray) -> Iterator[Piece]:
    """The patches of an image, or of the region of a raw `film`, that show enough."""
    from bccli.core.imaging.patches import cut, grid
    from bccli.core.imaging.tissue import nuclear_density, tissue_share

    image, mask = whole.image, whole.mask
    corners = grid(image, patches.size, stride=patches.stride, to_edges=patches.to_edges)
    if patches.breast:
        corners = _on_breast(corners, patches, film, whole.box)
    masks = cut(mask, corners, patches.size) if mask is not None else iter([None] * len(corners))
    for corner, patch, shape in zip(corners, cut(image, corners, patches.size), masks, strict=True):
        if patches.tissue and tissue_share(patch) < patches.tissue:
            continue
        if patches.nuclei and nuclear_density(patch) < patches.nuclei:
            continue
        yield replace(whole, image=patch, mask=shape, row=corner.row, col=corner.col)


def _on_breast(
    corners: "list[Position]", patches: Patches, film: np.ndarray, region: Box | None
) -> "list[Position]":
    """The corners of those patches, of a film or of a region of it, that have enough breast."""
    from bccli.core.imaging.tissue import breast_outline

    outline = breast_outline(film)
    top, left = (region.top, region.left) if region else (0, 0)
    return [
        corner
        for corner in corners
        if outline.share(corner.row + top, corner.col + left, patches.size) >= patches.breast
    ]


def _finish(piece: Piece, preparation: Preparation) -> Piece:
    """Bring a piece to its size, cut out its centre and remove its noise."""
    image, mask = piece.image, piece.mask
    if preparation.size == MEAN:
        raise ValueError("the mean size has not been learned")
    if isinstance(preparation.size, tuple):
        size = preparation.size
        image = FITS[preparation.fit](image, size, interpolation=preparation.interpolation)
        mask = None if mask is None else fit_mask(mask, preparation.fit, size)
    if preparation.centre:
        image = cut_centre(image, preparation.centre)
        mask = None if mask is None else cut_centre(mask, preparation.centre)
    if mask is not None and preparation.patches and not preparation.region and not mask.any():
        mask = None  # its film has a mask, of which nothing lies in this patch
    if preparation.denoise:
        image = denoise(image, preparation.denoise)
    return replace(piece, image=to_rgb(image), mask=mask)
