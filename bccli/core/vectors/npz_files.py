"""Vectors in an .npz file: `features` (n, width), with `paths` (n,), or `coords` (n, 2) of one slide."""

from pathlib import Path

import numpy as np

from bccli.core.errors import DataError
from bccli.core.reading.archives import open_arrays
from bccli.core.reading.limits import ARRAYS_BYTES
from bccli.core.vectors.contents import Contents, as_numbers, as_places, contents

_REMEDY = "write it again, with numbers in features and texts in paths (np.array(paths, dtype=str))"


def read_npz(path: Path) -> Contents:
    """What an .npz file holds. Raises DataError where it is damaged, or has pickles or no features in it."""
    with open_arrays(path, ARRAYS_BYTES, _REMEDY) as found:
        known = {name: np.asarray(found[name]) for name in ("features", "paths", "coords") if name in found}
        there = ", ".join(repr(name[:40]) for name in list(found)[:5])
    if "features" not in known:
        raise DataError(f"{path}: has no array 'features' but {there or 'nothing'}; {_REMEDY}")
    features = known["features"]
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]
    values = as_numbers(path, features.reshape(1, -1) if features.ndim == 1 else features)
    if "paths" in known:
        return contents(path, values, names=_texts(path, known["paths"]))
    places = as_places(path, known["coords"], len(values)) if "coords" in known else None
    return contents(path, values, names=None, places=None if places is None else lambda: places)


def _texts(path: Path, array: np.ndarray) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise DataError(f"{path}: its paths are no list of texts; {_REMEDY}")
    try:
        return [text.decode("utf-8") if isinstance(text, bytes) else text for text in array.tolist()]
    except UnicodeDecodeError:
        raise DataError(f"{path}: its paths are not in UTF-8; {_REMEDY}") from None
