"""IDC patches (Cruz-Roa et al. 2014, DOI 10.1117/12.2043872): `9036_idx5_x1051_y2401_class0.png`."""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.walking import image_files
from bccli.core.records import Sample

_NAME = re.compile(
    r"(?P<patient>\d+)_idx\d+_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.png", re.IGNORECASE
)
_LABELS = {"0": "no_idc", "1": "idc"}


def read_idc(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the patches; the patient and the place in the slide are in the name."""
    for name in image_files(source):
        match = _NAME.fullmatch(name.rsplit("/", 1)[-1])
        if match is None:
            skip(name)
        else:
            yield Sample(
                label=_LABELS[match["label"]],
                patient=match["patient"],
                dataset="idc",
                source=name,
                row=int(match["y"]),
                col=int(match["x"]),
            )
