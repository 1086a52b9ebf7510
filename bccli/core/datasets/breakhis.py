"""BreakHis (Spanhol et al. 2016, DOI 10.1109/TBME.2015.2496264).

`SOB_M_DC-14-2523-40-001.png` is procedure, class, subtype, year, slide, magnification and number. The
letters behind a slide's number mark slides of one case, so the patient is the number alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import Copies, dataset_files, folder_magnification, stem_of

_STEM = re.compile(
    r"SOB_(?P<label>[BM])_(?P<subtype>[A-Z]+)-(?P<year>\d+)-(?P<slide>\d+)[A-Z]*-(?P<magnification>\d+)-\d+",
    re.IGNORECASE,
)
_LABELS = {"B": "benign", "M": "malignant"}
SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}


def read_breakhis(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield BreakHis's images, of the magnifications asked for or of all; each once.

    They are handed out as PNG; copies in another format keep the names.
    """
    copies = Copies()
    for name in dataset_files(source, skip):
        stem = stem_of(name)
        match = _STEM.fullmatch(stem)
        if match is None or match["subtype"].upper() not in SUBTYPES:
            skip(name, "renamed" if _STEM.search(stem) else "unknown")
        elif name in copies:
            skip(name, "copy")
        elif not reading.magnifications or match["magnification"] in reading.magnifications:
            if folder_magnification(name) not in ("", match["magnification"]):
                skip(name, "contradiction")
            yield Sample(
                label=_LABELS[match["label"].upper()],
                patient=match["slide"],
                dataset="breakhis",
                source=name,
                subtype=SUBTYPES[match["subtype"].upper()],
                magnification=match["magnification"],
            )
