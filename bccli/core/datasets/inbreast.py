"""INbreast (Moreira et al. 2012, DOI 10.1016/j.acra.2011.09.014): 410 digital films of 115 cases.

`AllDICOMs` has names such as `20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm`: film, patient, side and view,
of which ML is what the list calls MLO. A patient may have several cases, of different dates. `INbreast.csv`
has the BI-RADS assessment of each film, and "removed" where patients and ages were; `AllXML/20586908.xml` has
the contours of its lesions (see `layout.osirix`), and films without lesions have no such file. The classes
rest on the radiologist's assessment, as the results of biopsies are no part of the list.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bccli.core.data.manifest import Metadata, Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import image_files, is_image_name, stem_of
from bccli.core.datasets.layout.indexes import TABLES, Line, read_index
from bccli.core.datasets.layout.osirix import Contour, read_contours
from bccli.core.datasets.loading import Raw, root_of
from bccli.core.datasets.traits import INBREAST, traits_in
from bccli.core.errors import DataError, ImageError, SourceError
from bccli.core.imaging.contours import Outline, enclosed, reach_beyond
from bccli.core.imaging.formats.decoding import DICOM_SUFFIXES, decode_deep
from bccli.core.reading.ages import age_of

SIZES = ((3328, 4084), (2560, 3328))
"""Width and height of the films, for which the contours are."""

_NEEDED = ("File Name", "Bi-Rads")
_FILM = re.compile(
    r"(?P<film>\d+)_(?P<patient>[0-9a-f]+)_MG_(?P<side>[LR])_(?P<view>[A-Z]+)_ANON", re.IGNORECASE
)
_LIST = re.compile(r"inbreast.*\.(csv|xlsx?)", re.IGNORECASE)
_ANNOTATION = re.compile(r"(?:.*/)?(?P<film>\d+)\.xml", re.IGNORECASE)
_REST = re.compile(
    r"(.*/)?(AllXML|AllROI|MedicalReports|PectoralMuscle)/.*|(INbreast|README)[^/]*|AllDICOMs/[^/]*\.m",
    re.IGNORECASE,
)
"""What else the release has."""

_FILE_NAME = re.compile(r"(?P<film>\d+)([.,]0*|_.*)?")
_ASSESSMENT = re.compile(r"(bi-?rads)?\s*(?P<category>[0-6])\s*[abc]?([.,]0*)?", re.IGNORECASE)
_SEVERITIES = {"1": "normal", **dict.fromkeys("23", "benign"), **dict.fromkeys("456", "malignant")}
_VIEWS = {"ML": "MLO"}
_PECTORAL = "pectoral"

# Small letters and the first word; the release spells some in several ways.
_KINDS = {
    "mass": "mass",
    "calcification": "calcification",
    "calcifications": "calcification",
    "cluster": "cluster",
    "spiculated": "spiculated",
    "espiculated": "spiculated",
    "distortion": "distortion",
    "asymmetry": "asymmetry",
    "assymetry": "asymmetry",
    "asimmetry": "asymmetry",
}
_OTHER = "other"


@dataclass(frozen=True)
class _Film:
    """A film by its file's name."""

    name: str
    number: str
    patient: str
    side: str
    view: str


@dataclass(frozen=True)
class _Row:
    """What the list says of a film; `category` is a BI-RADS category from 1 to 6, empty where there is
    none."""

    where: str
    category: str
    side: str
    view: str
    metadata: Metadata
    age: int | None


@dataclass
class _Files:
    """The images of a folder in the order in which they count, DICOM first, and the annotations by film."""

    images: list[str]
    annotations: dict[str, str] = field(default_factory=dict)


def read_inbreast(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the films that the list has an assessment of; with the task mass, by whether one is outlined.

    Raises DataError where there is no list, it lacks a column or a line cannot be meant.
    """
    rows = _read_list(source, skip)
    files = _files(source, skip)
    met: set[str] = set()
    for name in files.images:
        film = _film(name)
        if film is None or film.number in met:
            skip(name, "copy" if film else "unknown")
            continue
        met.add(film.number)
        row, annotation = rows.get(film.number), files.annotations.get(film.number, "")
        if row is None or not row.category:
            skip(name, "unassessed")
            continue
        lesions = _read_annotation(source, annotation, skip) if annotation else ()
        if lesions is None and reading.task == "mass":
            continue
        if (row.side or film.side, row.view or film.view) != (film.side, film.view):
            skip(name, "contradiction")
        yield _sample(film, row, annotation, lesions or (), reading.task)
    for number in sorted(set(rows) - met):
        skip(number, "missing")
    for number in sorted(set(files.annotations) - met):
        skip(files.annotations[number], "orphan_mask")


def _film(name: str) -> _Film | None:
    match = _FILM.fullmatch(stem_of(name))
    if match is None:
        return None
    view = match["view"].upper()
    return _Film(
        name=name,
        number=match["film"],
        patient=match["patient"].lower(),
        side=match["side"].upper(),
        view=_VIEWS.get(view, view),
    )


def _sample(film: _Film, row: _Row, annotation: str, lesions: tuple[Contour, ...], task: str) -> Sample:
    kinds = _kinds(lesions)
    label = _SEVERITIES[row.category]
    if task == "mass":
        label = "mass" if "mass" in kinds else "no_mass"
    return Sample(
        label=label,
        patient=film.patient,
        dataset="inbreast",
        source=film.name,
        subtype=";".join(kinds),
        view=row.view or film.view,
        side=row.side or film.side,
        mask=annotation if _outlines(lesions, label) else "",
        age=row.age,
        metadata=row.metadata,
    )


def _read_list(source: Path, skip: Skip) -> dict[str, _Row]:
    """The rows of the list by film; sums below it name none."""
    rows: dict[str, _Row] = {}
    for line in read_index(_list_in(source), _NEEDED, errors="replace"):
        name = line.get("File Name")
        match = _FILE_NAME.fullmatch(name)
        if match is None:
            if name:
                skip(f"{name} in line {line.number}", "no_film")
            continue
        row, film = _row(line, skip), match["film"]
        first = rows.setdefault(film, row)
        if first is row:
            continue
        if first.category != row.category:
            raise DataError(
                f"{line.where}: Bi-Rads of {film} is {row.category or 'empty'} here, and "
                f"{first.category or 'empty'} in {first.where}; remove one of the two"
            )
        skip(film, "copy")
    return rows


def _list_in(source: Path) -> Path:
    """The list in a folder: CSV, or else XLSX."""
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"{source}: {what}; name the folder that holds INbreast.csv and AllDICOMs")
    found = [path for path in source.iterdir() if _LIST.fullmatch(path.name) and path.is_file()]
    found.sort(key=lambda path: (len(path.name), path.name))  # INbreast.csv before INbreast (1).csv
    for ending in (*TABLES, ".xls"):
        for path in found:
            if path.suffix.lower() != ending:
                continue
            if ending in TABLES:
                return path
            raise DataError(
                f"{path}: is a workbook of old Excel, which bccli does not read; put the download's "
                "INbreast.csv beside it, or open it and save it as INbreast.xlsx"
            )
    raise SourceError(f"{source}: holds no INbreast.csv; put it beside AllDICOMs")


def _row(line: Line, skip: Skip) -> _Row:
    assessment = line.get("Bi-Rads")
    match = _ASSESSMENT.fullmatch(assessment)
    if match is None and assessment not in ("", "-"):
        raise DataError(f"{line.where}: Bi-Rads {assessment!r} is none of 0 to 6, 4a, 4b and 4c; correct it")
    category = match["category"] if match else ""
    side, view = line.get("Laterality").upper()[:1], line.get("View").upper()
    return _Row(
        where=line.where,
        category=category if category in _SEVERITIES else "",
        side=side if side in ("L", "R") else "",
        view=_VIEWS.get(view, view),
        metadata=traits_in(line, INBREAST, skip),
        age=age_of(line.get("Patient age")),
    )


def _files(source: Path, skip: Skip) -> _Files:
    """The files below a folder; those that are no part of the release are remarked upon."""
    annotations: dict[str, str] = {}

    def passed_over(name: str) -> None:
        match = _ANNOTATION.fullmatch(name)
        if match and _PECTORAL not in name.lower():
            annotations.setdefault(match["film"], name)
        elif not _REST.fullmatch(name.replace(" ", "")):
            skip(name, "other")

    images = sorted(image_files(source, passed_over=passed_over), key=lambda name: not _is_dicom(name))
    return _Files(images, annotations)


def _is_dicom(name: str) -> bool:
    return not is_image_name(name) or name[name.rfind(".") :].lower() in DICOM_SUFFIXES


def _read_annotation(source: Path, name: str, skip: Skip) -> tuple[Contour, ...] | None:
    """The lesions of a film; None where the file cannot be read. What is wrong with it is remarked upon."""
    try:
        lesions = _lesions(source / name)
    except ImageError as error:
        skip(f"{name} {error}", "contours")
        return None
    if any(lesion.is_damaged for lesion in lesions):
        skip(name, "contour")
    if any(len(lesion.points) in (1, 2) for lesion in lesions):
        skip(name, "dots")
    return lesions


def _lesions(path: Path) -> tuple[Contour, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return read_contours(path)
    return _lesions_of(path, status.st_mtime_ns, status.st_size)


# The films are gone through several times, and parsing all of their contours takes seconds.
@lru_cache(maxsize=512)
def _lesions_of(path: Path, _time: int, _size: int) -> tuple[Contour, ...]:
    return tuple(contour for contour in read_contours(path) if not contour.name.lower().startswith(_PECTORAL))


def _kinds(lesions: tuple[Contour, ...]) -> tuple[str, ...]:
    """The kinds of lesions in the order of the table, each once."""
    found = {_kind(lesion) for lesion in lesions}
    return tuple(kind for kind in dict.fromkeys((*_KINDS.values(), _OTHER)) if kind in found)


def _kind(lesion: Contour) -> str:
    return _KINDS.get(next(iter(lesion.name.lower().split()), ""), _OTHER)


def _outlines(lesions: tuple[Contour, ...], label: str) -> list[Outline]:
    """What a film's mask is drawn from: the outlines of all lesions, in the class mass those of masses."""
    return [
        lesion.points for lesion in lesions if lesion.points and (label != "mass" or _kind(lesion) == "mass")
    ]


def load_film(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the film, and fill the contours of its lesions, if it has any; in the class mass those of masses.

    Copies in other formats have a mask if they have the size of a film.
    """
    root = root_of(source)
    image = decode_deep(root / sample.source)
    if not sample.mask:
        return Raw(image)
    height, width = image.shape[:2]
    if not _is_dicom(sample.source) and (width, height) not in SIZES:
        return _unfit(
            Raw(image, None, "mask_unfit"), reading, "are for the film itself, not for a smaller copy"
        )
    try:
        outlines = _outlines(_lesions(root / sample.mask), sample.label)
    except ImageError as error:
        raise ImageError(f"its file of contours {sample.mask} {error}") from None
    mask = enclosed(outlines, (height, width))
    if not mask.any():
        return _unfit(Raw(image, None, "contour_beyond"), reading, "lie outside of it")
    return Raw(image, mask, "contour_beyond" if reach_beyond(outlines, (height, width)) else "")


def _unfit(raw: Raw, reading: Reading, reason: str) -> Raw:
    """An image without a mask. Raises ImageError where masks are needed."""
    if reading.needs_masks:
        height, width = raw.image.shape[:2]
        raise ImageError(f"is {width}×{height}, and its contours {reason}")
    return raw
