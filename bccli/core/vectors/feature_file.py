"""The HDF5 file that `train --features-only` writes, and that `--features` reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError, SettingsError
from bccli.core.files import replacing_file
from bccli.core.vectors.contents import NamedVectors, Rows
from bccli.core.vectors.hdf5_files import FEATURES, PATHS, PIXELS, read_hdf5
from bccli.core.vectors.matching import BLOCK

FORMAT, TOOL = "format", "tool"
_FORMAT, _TOOL = 1, "bccli"


def written_width(path: Path, facts: Mapping[str, Any]) -> int | None:
    """The width of vectors in a file that were computed with these facts; None where there is no file.

    Raises SettingsError naming the first fact that differs, DataError for a file that bccli did not write.
    """
    if not path.exists():
        return None
    found = read_hdf5(path)
    if not isinstance(found, NamedVectors) or found.facts.get(TOOL) != _TOOL:
        raise DataError(f"{path}: is there, and was not written by bccli; name another file")
    for name, value in {FORMAT: _FORMAT, **facts}.items():
        if (there := found.facts.get(name)) != value:
            what = name.replace("_", " ")
            raise SettingsError(
                f"{path}: was computed with {what} {there}, now {value}; remove it or name another file"
            )
    return found.values.shape[1]


def write_features(
    path: Path, values: Rows, samples: Sequence[Sample], facts: Mapping[str, str | int]
) -> None:
    """Write the vectors (n, width) of n images with facts about them, complete or not at all."""
    import h5py  # type: ignore[import-untyped]

    with replacing_file(path) as temporary, h5py.File(temporary, "w", locking=False) as content:
        for name, value in {TOOL: _TOOL, FORMAT: _FORMAT, **facts}.items():
            content.attrs[name] = np.bytes_(value.encode("utf-8")) if isinstance(value, str) else value
        stored = content.create_dataset(FEATURES, values.shape, np.float32)
        for start in range(0, len(samples), BLOCK):
            stop = min(start + BLOCK, len(samples))
            stored[start:stop] = values[np.arange(start, stop)]
        names = [sample.path.encode("utf-8") for sample in samples]
        length = max(map(len, names))
        content.create_dataset(PATHS, data=names, dtype=h5py.string_dtype("utf-8", length))
        pixels = [np.frombuffer(bytes.fromhex(sample.sha256), np.uint8) for sample in samples]
        content.create_dataset(PIXELS, data=np.stack(pixels))
