"""Splits that kaiko-eva publishes figures on (github.com/kaiko-ai/eva, as of 2025): its train and validation
parts, the latter being our test."""

import re

from bccli.core.data.manifest import Sample
from bccli.core.datasets.breakhis import SUBTYPES

_SLIDE = re.compile(r"SOB_[BM]_(?P<subtype>[A-Z]+)-\d+-(?P<slide>\d+[A-Z]*)-\d+-\d+", re.IGNORECASE)
_SUBTYPES = frozenset({"fibroadenoma", "tubular_adenoma", "ductal_carcinoma", "mucinous_carcinoma"})
_SLIDES = frozenset(
    {
        *("18842D", "19979", "15275", "15792", "16875", "3909", "5287", "16716", "2773", "5695"),
        *("16184CD", "23060CD", "21998CD", "21998EF"),
    }
)

_PHOTO = re.compile(r"(?P<prefix>b|is|iv|n)(?P<number>\d{3})", re.IGNORECASE)
_FOLDERS = ("b", "is", "iv", "n")
_PER_FOLDER = 100
_TESTED = ((41, 58), (60, 89), (139, 168), (240, 257), (260, 272), (345, 367))


def breakhis_split(sample: Sample) -> str:
    """train or test of a BreakHis image, by its slide; empty for one of another subtype.

    339 images at 40× are test and 1,132 train.
    """
    match = _SLIDE.search(sample.source.rpartition("/")[2])
    if match is None or SUBTYPES[match["subtype"].upper()] not in _SUBTYPES:
        return ""
    return "test" if match["slide"].upper() in _SLIDES else "train"


def bach_split(sample: Sample) -> str:
    """train or test of one of BACH's 400 photographs, by its number among all (folder by folder, from 0);
    empty for any other image. 132 are test and 268 train.
    """
    match = _PHOTO.fullmatch(sample.source.rpartition("/")[2].rpartition(".")[0])
    if match is None or not 1 <= int(match["number"]) <= _PER_FOLDER:
        return ""
    index = _FOLDERS.index(match["prefix"].lower()) * _PER_FOLDER + int(match["number"]) - 1
    return "test" if any(first <= index <= last for first, last in _TESTED) else "train"
