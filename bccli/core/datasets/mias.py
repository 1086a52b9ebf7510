"""MIAS, the mini-MIAS database of mammograms (Suckling et al. 1994): 322 films of 161 patients.

`Info.txt` has lines such as `mdb001 G CIRC B 535 425 197`: film, tissue, abnormality, benign or malignant,
and a circle around it, by centre (from the bottom left corner) and radius in pixels. Films of several
abnormalities have several lines; some abnormalities have no circle, as they are all over the film. Films
come in pairs, of which the odd number is the right breast, as the database's own notes say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import dataset_files, stem_of
from bccli.core.datasets.loading import Raw, root_of
from bccli.core.datasets.traits import MIAS_TISSUES, text_of
from bccli.core.errors import DataError, ImageError, SourceError
from bccli.core.imaging.formats.decoding import decode_deep
from bccli.core.reading.limits import LIST_BYTES
from bccli.core.reading.regular_files import explained, read_bytes

SIDE = 1024
"""Pixels across and down all films, from whose bottom the circles count."""

_STEM = re.compile(r"(?P<film>mdb(?P<number>\d{3}))[lr]?[smlx]?", re.IGNORECASE)
_INFO = "info.txt"
_ORDER = ("normal", "benign", "malignant")
_SEVERITIES = {"B": "benign", "M": "malignant"}
_KINDS = ("CALC", "CIRC", "SPIC", "MISC", "ARCH", "ASYM", "NORM")


@dataclass
class _Film:
    """The facts of Info.txt about one film."""

    label: str = "normal"
    tissue: str = ""
    kinds: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)


def read_mias(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the films, those of benign and malignant abnormalities as malignant.

    Raises DataError where there is no Info.txt or a line of it cannot be meant.
    """
    films = _read_info(source)
    missing = set(films)
    for name in dataset_files(source, skip, lists=(_INFO,)):
        match = _STEM.fullmatch(stem_of(name))
        film = films.get(match["film"].lower()) if match else None
        if match is None or film is None:
            skip(name)
            continue
        if match["film"].lower() not in missing:
            skip(name, "copy")
            continue
        missing.discard(match["film"].lower())
        if reading.task == "severity" and film.label == "normal":
            continue
        number = int(match["number"])
        yield Sample(
            label=film.label,
            patient=f"{(number + 1) // 2:03d}",
            dataset="mias",
            source=name,
            subtype=";".join(dict.fromkeys(film.kinds)),
            view="MLO",
            side="R" if number % 2 else "L",
            box=";".join(film.boxes),
            metadata=(("tissue", tissue),) if (tissue := _tissue(film, name, skip)) else (),
        )
    for film_name in sorted(missing):
        skip(film_name, "missing")


def _tissue(film: _Film, name: str, skip: Skip) -> str:
    return text_of(MIAS_TISSUES, film.tissue, name, skip)


def _read_info(source: Path) -> dict[str, _Film]:
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"{source}: {what}; name the folder that holds Info.txt and the images")
    path = next((path for path in sorted(source.iterdir()) if path.name.lower() == _INFO), None)
    if path is None:
        raise SourceError(f"{source}: holds no Info.txt; put it beside the images")
    films: dict[str, _Film] = {}
    try:
        lines = read_bytes(path, LIST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({explained(error)}); check its permissions") from None
    for number, text in enumerate(lines, 1):
        words = text.split()
        if words and re.fullmatch(r"mdb\d{3}", words[0], re.IGNORECASE):
            _add(films.setdefault(words[0].lower(), _Film()), words[1:], f"{path} line {number}")
    return films


def _add(film: _Film, words: list[str], where: str) -> None:
    """Take up what a line says after the film's name."""
    film.tissue = film.tissue or (words[0].upper() if words else "")
    kind = words[1].upper() if len(words) > 1 else ""
    if kind not in _KINDS:
        raise DataError(f"{where}: {kind or 'nothing'!r} is none of {', '.join(_KINDS)}; correct it")
    if kind == "NORM":
        return
    severity = words[2].upper() if len(words) > 2 else ""
    if severity not in _SEVERITIES:
        raise DataError(f"{where}: {severity or 'nothing'!r} is neither B nor M; correct it")
    film.kinds.append(kind)
    film.label = max(film.label, _SEVERITIES[severity], key=_ORDER.index)
    circle = words[3:6]
    if len(circle) == 3 and all(word.isascii() and word.isdecimal() for word in circle):
        x, y, radius = map(int, circle)
        film.boxes.append(f"{x - radius},{SIDE - y - radius},{x + radius},{SIDE - y + radius}")


def load_film(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the film, and draw its circles as a mask where it has any, and has the size that they are for."""
    image = decode_deep(root_of(source) / sample.source)
    if not sample.box:
        return Raw(image)
    height, width = image.shape[:2]
    if (width, height) != (SIDE, SIDE):
        if not reading.needs_masks:
            return Raw(image, None, "mask_unfit")
        raise ImageError(f"is {width}×{height}, and the circles in Info.txt are for {SIDE}×{SIDE}")
    rows, columns = np.ogrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for box in sample.box.split(";"):
        left, top, right, bottom = map(int, box.split(","))
        x, y, radius = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        mask |= (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return Raw(image, np.where(mask, np.uint8(255), np.uint8(0)))
