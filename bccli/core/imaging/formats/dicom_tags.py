"""What a DICOM header says of the film and its patient that identifies nobody.

Manufacturer and model are no part of the profile that DICOM part 15, annex E removes attributes by; an age
is kept by its option for the patient's characteristics, and ages of 90 and over are one here. Nothing
else is read: no name, id or date, no serial number or station, no institution.
"""

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bccli.core.imaging.formats.dicom import inflated
from bccli.core.reading.ages import age_of
from bccli.core.reading.regular_files import open_file

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = {
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "ManufacturerModelName": 0x00081090,
    "PatientAge": 0x00101010,
    "ViewPosition": 0x00185101,
    "Laterality": 0x00200060,
    "ImageLaterality": 0x00200062,
    "ViewCodeSequence": 0x00540220,
}
_LAST = max(_TAGS.values())
_ENOUGH = 1 << 22
"""Bytes of a file in which these stand: what comes before them is short, and pixels come after."""
_HIGHEST_AGE = 90
_VIEW = re.compile(r"[A-Z]{2,5}")
_VIEWS = {
    "CC": ("399162004", "R-10242"),
    "MLO": ("399368009", "R-10226"),
    "ML": ("399260004", "R-10224"),
    "LM": ("399352003", "R-10228"),
    "LMO": ("399099002", "R-10230"),
    "FB": ("399196006", "R-10244"),
}
"""DICOM part 16, context group 4014: views by SNOMED's codes of today, and by those of older devices."""


@dataclass(frozen=True)
class FilmTags:
    """Maker and model of the device, the patient's age in years, and of a mammogram view and side (L or R);
    each empty where the file does not say it."""

    scanner: str = ""
    age: str = ""
    view: str = ""
    side: str = ""


def read_tags(path: Path) -> FilmTags:
    """The tags of a DICOM file; empty ones of any other file, and of one that cannot be read."""
    try:
        with open_file(path) as stream:
            data = stream.read(_ENOUGH)
        return _tags(data, os.path.splitext(path)[1].lower() in (".dcm", ".dicom", ".dic", ".ima"))
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever its steps raise; whether the image can be read, others say
        return FilmTags()


def _tags(data: bytes, named_dicom: bool) -> FilmTags:
    from pydicom.filereader import read_partial

    if data[128:132] == b"DICM":
        data = inflated(data, _ENOUGH, partly=True)
    elif not named_dicom:
        return FilmTags()
    header = read_partial(
        io.BytesIO(data),
        lambda tag, vr, length: tag > _LAST,
        force=True,
        specific_tags=list(_TAGS.values()),
    )
    is_mammogram = _text(header, "Modality") == "MG"
    maker, model = _text(header, "Manufacturer"), _text(header, "ManufacturerModelName")
    return FilmTags(
        scanner=f"{maker} {model}".strip(),
        age=_age(_text(header, "PatientAge")),
        view=_view(header) if is_mammogram else "",
        side=_side(header) if is_mammogram else "",
    )


def _text(header: "Dataset", name: str) -> str:
    """A value in one line without what does not print."""
    value = header.get(name) or ""
    text = value if isinstance(value, str) else " ".join(map(str, value))  # of several, which is not allowed
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())


def _age(text: str) -> str:
    age = age_of(text)
    return str(min(age, _HIGHEST_AGE)) if age else ""


def _view(header: "Dataset") -> str:
    view = _text(header, "ViewPosition").upper()
    if _VIEW.fullmatch(view):
        return view
    codes = {_text(code, "CodeValue") for code in header.get("ViewCodeSequence") or ()}
    return next((name for name, known in _VIEWS.items() if not codes.isdisjoint(known)), "")


def _side(header: "Dataset") -> str:
    sides = (_text(header, name).upper() for name in ("ImageLaterality", "Laterality"))
    return next((side for side in sides if side in ("L", "R")), "")
