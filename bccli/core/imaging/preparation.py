"""What turns a raw image into what the models see; `prepare` and `predict` both call this."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.fitting import FITS


@dataclass(frozen=True)
class Preparation:
    """The steps between a decoded image and a model, in the order of the fields.

    `size` is (width, height) in pixels, or None to keep each image's own; `fit` names a row of FITS.
    """

    size: tuple[int, int] | None = None
    fit: str = "stretch"

    def to_json(self) -> dict[str, Any]:
        """As stored in dataset.json and run.json."""
        return {"size": list(self.size) if self.size else None, "fit": self.fit}


def preparation_from_json(value: dict[str, Any]) -> Preparation:
    """Read what `Preparation.to_json` wrote. Raises DataError for steps that this version does not know."""
    unknown = set(value) - {"size", "fit"}
    if unknown:
        raise DataError(f"the preparation step {min(unknown)!r} is not known to this bccli; update it")
    if value["fit"] not in FITS:
        raise DataError(f"the preparation's fit {value['fit']!r} is not known to this bccli; update it")
    size = value["size"]
    return Preparation(size=(size[0], size[1]) if size else None, fit=value["fit"])


def prepare_image(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Raw uint8 RGB of shape (height, width, 3) to prepared uint8 RGB."""
    if preparation.size is None:
        return image
    return FITS[preparation.fit](image, preparation.size)


def prepare_mask(mask: np.ndarray, preparation: Preparation) -> np.ndarray:
    """A mask of shape (height, width), moved and scaled exactly as its image."""
    if preparation.size is None:
        return mask
    return FITS[preparation.fit](mask, preparation.size, nearest=True)
