"""What turns a raw image into what the models see; `prepare` and `predict` both call this."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.fitting import FITS

if TYPE_CHECKING:
    from bccli.core.imaging.stain_fits import Fit


@dataclass(frozen=True)
class Stain:
    """Stain normalisation by a row of `imaging.stain.STAINS` to a target, None until it is learned."""

    method: str
    target: "Fit | None" = None


@dataclass(frozen=True)
class Patches:
    """Square patches of `size` pixels, `stride` apart, of every image.

    Only those count whose share of tissue and of nuclei is as large as asked.
    """

    size: int
    stride: int
    tissue: float = 0.0
    nuclei: float = 0.0


@dataclass(frozen=True)
class Preparation:
    """The steps between a decoded image and a model, in the order in which they are taken.

    The stain of the whole image is normalised, patches are cut, and each is brought to `size` (width,
    height) in pixels, or keeps its own where that is None; `fit` names a row of FITS.
    """

    stain: Stain | None = None
    patches: Patches | None = None
    size: tuple[int, int] | None = None
    fit: str = "stretch"

    def to_json(self) -> dict[str, Any]:
        """As stored in dataset.json and run.json; steps that are not taken are left out."""
        steps: dict[str, Any] = {"size": list(self.size) if self.size else None, "fit": self.fit}
        if self.stain:
            from bccli.core.imaging.stain_fits import fit_to_json

            target = self.stain.target
            steps["stain"] = self.stain.method
            steps["stain_target"] = fit_to_json(target) if target else None
        if self.patches:
            steps["patch"], steps["stride"] = self.patches.size, self.patches.stride
            shares = {"tissue": self.patches.tissue, "nuclei": self.patches.nuclei}
            steps |= {name: share for name, share in shares.items() if share}
        return steps


_KNOWN = {"size", "fit", "stain", "stain_target", "patch", "stride", "tissue", "nuclei"}


def preparation_from_json(value: dict[str, Any]) -> Preparation:
    """Read what `Preparation.to_json` wrote. Raises DataError for steps that this version does not know."""
    if unknown := set(value) - _KNOWN:
        raise DataError(f"the preparation step {min(unknown)!r} is not known to this bccli; update it")
    if value["fit"] not in FITS:
        raise DataError(f"the preparation's fit {value['fit']!r} is not known to this bccli; update it")
    size = value["size"]
    return Preparation(
        _stain_from_json(value),
        Patches(value["patch"], value["stride"], value.get("tissue", 0.0), value.get("nuclei", 0.0))
        if "patch" in value
        else None,
        (size[0], size[1]) if size else None,
        value["fit"],
    )


def _stain_from_json(value: dict[str, Any]) -> Stain | None:
    if "stain" not in value:
        return None
    from bccli.core.imaging.stain import STAINS
    from bccli.core.imaging.stain_fits import fit_from_json

    if value["stain"] not in STAINS:
        raise DataError(f"the stain method {value['stain']!r} is not known to this bccli; update it")
    target = value.get("stain_target")
    return Stain(value["stain"], fit_from_json(STAINS[value["stain"]].kind, target) if target else None)


@dataclass(frozen=True)
class Piece:
    """A prepared image (height, width, 3) and its mask (height, width) or None; for a patch also its place.

    `row` and `col` are the patch's top-left corner in the raw image, in pixels.
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    row: int | None = None
    col: int | None = None


@dataclass(frozen=True)
class PreparedImage:
    """What became of a raw image: itself or its patches, and whether its stain could be measured."""

    pieces: Iterator[Piece] = field(repr=False)
    stained: bool = True


def prepare_image(
    image: np.ndarray, preparation: Preparation, mask: np.ndarray | None = None
) -> PreparedImage:
    """Take a raw image, uint8 RGB (height, width, 3), and its mask (height, width) through all steps.

    Raises ImageError, at once or while the pieces are taken, for an image that is too small or narrow.
    """
    stained = True
    if preparation.stain:
        from bccli.core.imaging.stain import normalise_stain

        if preparation.stain.target is None:
            raise ValueError("the stain target has not been learned")
        image, stained = normalise_stain(image, preparation.stain.method, preparation.stain.target)
    whole = iter([Piece(image, mask)])
    pieces = _cut(image, mask, preparation.patches) if preparation.patches else whole
    return PreparedImage((_fit(piece, preparation) for piece in pieces), stained)


def _cut(image: np.ndarray, mask: np.ndarray | None, patches: Patches) -> Iterator[Piece]:
    from bccli.core.imaging.patches import cut, grid
    from bccli.core.imaging.tissue import nuclear_density, tissue_share

    places = grid(image, patches.size, stride=patches.stride)
    masks = cut(mask, places, patches.size) if mask is not None else iter([None] * len(places))
    for place, patch, shape in zip(places, cut(image, places, patches.size), masks, strict=True):
        if patches.tissue and tissue_share(patch) < patches.tissue:
            continue
        if patches.nuclei and nuclear_density(patch) < patches.nuclei:
            continue
        yield Piece(patch, shape, place.row, place.col)


def _fit(piece: Piece, preparation: Preparation) -> Piece:
    if preparation.size is None:
        return piece
    fit, size = FITS[preparation.fit], preparation.size
    mask = None if piece.mask is None else fit(piece.mask, size, nearest=True)
    return Piece(fit(piece.image, size), mask, piece.row, piece.col)
