"""IDC patches (Cruz-Roa et al. 2014, DOI 10.1117/12.2043872): `9036_idx5_x1051_y2401_class0.png`.

The usual download holds each patch twice: beside the patients' folders lies a folder with all of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import Copies, dataset_files, stem_of

_STEM = re.compile(r"(?P<patient>\d+)_idx\d+_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])", re.IGNORECASE)
_LABELS = {"0": "no_idc", "1": "idc"}


def read_idc(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the patches, each once; the patient and the position in the slide are in the name."""
    copies = Copies()
    for name in dataset_files(source, skip):
        stem = stem_of(name)
        match = _STEM.fullmatch(stem)
        if match is None:
            skip(name, "renamed" if _STEM.search(stem) else "unknown")
        elif name in copies:
            skip(name, "copy")
        else:
            yield Sample(
                label=_LABELS[match["label"]],
                patient=match["patient"],
                dataset="idc",
                source=name,
                row=int(match["y"]),
                col=int(match["x"]),
            )
