"""Bioimaging2015 (Araújo et al. 2017, DOI 10.1371/journal.pone.0177544), the extension of it by 1,319 to
1,568 images (Yan et al. 2018), and ICIAR2018 BACH (Aresta et al. 2019, DOI 10.1016/j.media.2019.05.010).

They come as `Training_data/In Situ/t12.tif` with `Test_data/labels.txt` beside unsorted test images, as
folders by class, and as `Photos/InSitu/is012.tif` with `Photos/microscopy_ground_truth.csv`. So the class
of an image is what a list of its folder, or of one around it, says; else the nearest folder that is
called like a class; else the name's first letters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import dataset_files
from bccli.core.datasets.layout.listings import ImagePatients, key_of, read_pairs, stem_of
from bccli.core.errors import DataError

LISTS = ("microscopy_ground_truth.csv", "labels.txt")
_CLASSES = {"normal": "normal", "benign": "benign", "insitu": "in_situ", "invasive": "invasive"}
_PREFIXES = {"n": "normal", "b": "benign", "is": "in_situ", "iv": "invasive"}
_STEM = re.compile(r"(?P<prefix>n|b|is|iv)[_-]?\d+", re.IGNORECASE)
_WHOLE_SLIDES = "wsi"


def read_bach(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the microscopy images; those in folders called test… or train… have a split of their own.

    Raises DataError for a list that names a class nobody knows.
    """
    patients = ImagePatients(reading.patient_list) if reading.patient_list else None
    lists = _Lists(source)
    keys: set[str] = set()
    for name in dataset_files(source, skip, lists=LISTS):
        folders = name.split("/")[:-1]
        if any(folder.lower() == _WHOLE_SLIDES for folder in folders):
            continue
        listed, label_of_path = lists.find(name), _label_of_path(name)
        label = listed or label_of_path
        if not label:
            skip(name)
            continue
        if key_of(name) in keys:
            skip(name, "copy")
            continue
        keys.add(key_of(name))
        if label_of_path not in ("", label):
            skip(name, "contradiction")
        yield Sample(
            label=label,
            split=_split(folders),
            patient=(patients.find(name) or "") if patients else "",
            dataset="bach",
            source=name,
            magnification="200",
        )
    if patients:
        patients.check()
    for name in lists.missing():
        skip(name, "missing")


def _label_of_path(name: str) -> str:
    """The class by the nearest folder that is called like one, else by the name's first letters."""
    *folders, _ = name.split("/")
    for folder in reversed(folders):
        if label := _to_class(folder):
            return label
    match = _STEM.fullmatch(stem_of(name))
    return _PREFIXES[match["prefix"].lower()] if match else ""


def _to_class(text: str) -> str:
    """The class that a text begins with, whatever marks and capitals it has; empty for none."""
    letters = re.sub("[^a-z]", "", text.lower())
    return next((label for key, label in _CLASSES.items() if letters.startswith(key)), "")


def _split(folders: list[str]) -> str:
    for folder in folders:
        if match := re.match("train|test", folder.lower()):
            return match[0]
    return ""


@dataclass
class _Lists:
    """The lists of classes below a folder, each read when the first image beside or below it is met."""

    root: Path
    by_folder: dict[str, dict[str, str]] = field(default_factory=dict)
    found: set[tuple[str, str]] = field(default_factory=set)

    def find(self, name: str) -> str:
        """The class that the nearest list gives an image, empty for none."""
        folder, stem = name, stem_of(name)
        while folder:
            folder = folder.rpartition("/")[0]
            if folder not in self.by_folder:
                self.by_folder[folder] = self._read(folder)
            if label := self.by_folder[folder].get(stem):
                self.found.add((folder, stem))
                return label
        return ""

    def missing(self) -> Iterator[str]:
        """Images that a list names and nobody has."""
        for folder, labels in self.by_folder.items():
            for stem in labels:
                if (folder, stem) not in self.found:
                    yield f"{folder}/{stem}" if folder else stem

    def _read(self, folder: str) -> dict[str, str]:
        for name in LISTS:
            path = self.root / folder / name
            if path.is_file():
                return _read_list(path)
        return {}


def _read_list(path: Path) -> dict[str, str]:
    labels: dict[str, str] = {}
    for number, image, text in read_pairs(path):
        label = _to_class(text)
        if label:
            labels[stem_of(image)] = label
        elif labels or number > 1 or any(character.isdecimal() for character in image):
            raise DataError(
                f"{path} line {number}: {text!r} is none of Normal, Benign, InSitu, Invasive; correct it"
            )
    return labels
