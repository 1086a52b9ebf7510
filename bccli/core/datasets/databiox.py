"""Databiox (Bolhasani et al. 2020, DOI 10.1016/j.imu.2020.100341).

`BC_IDC_Grade_2/10x/11_BC_G2_9500_10x_1.JPG` is a running number that starts anew in each grade, grade,
case (the patient), magnification and image number.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import Copies, dataset_files, folder_magnification, stem_of

_STEM = re.compile(
    r"\d+_BC_G(?P<grade>[123])_(?P<case>\d+)_(?P<magnification>\d+)x_\d+",
    re.IGNORECASE,
)
# The same fields with other marks between them, or without the last number.
_LOOSE = re.compile(
    r"BC[\s_.-]*G(?P<grade>[123])[\s_.-]+(?P<case>\d+)[\s_.-]+(?P<magnification>\d+)\s*x", re.IGNORECASE
)
_FOLDER = re.compile(r"(?:^|/)BC_IDC_Grade_(?P<grade>[123])(?=/)", re.IGNORECASE)


def read_databiox(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield Databiox's images, of the magnifications asked for or of all; each once.

    The grade is the folder's, where there is one: that is what the dataset is handed out by.
    """
    copies = Copies()
    for name in dataset_files(source, skip):
        stem = stem_of(name)
        match = _STEM.fullmatch(stem) or _LOOSE.search(stem)
        if match is None:
            skip(name)
            continue
        if name in copies:
            skip(name, "copy")
            continue
        if reading.magnifications and match["magnification"] not in reading.magnifications:
            continue
        folder = _FOLDER.search(name)
        grade = folder["grade"] if folder else match["grade"]
        if match.re is _LOOSE:
            skip(name, "irregular")
        if grade != match["grade"] or folder_magnification(name) not in ("", match["magnification"]):
            skip(name, "contradiction")
        yield Sample(
            label=f"grade_{grade}",
            patient=match["case"],
            dataset="databiox",
            source=name,
            magnification=match["magnification"],
        )
