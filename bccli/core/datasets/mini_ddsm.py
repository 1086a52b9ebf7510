"""Mini-DDSM (Lekamlage et al. 2020, DOI 10.1145/3441369.3441370): four films of each of 1,952 patients.

Its index, CSV or XLSX, names for every film the view, the side, the patient's status and age, and up to
six contours of tumours. A breast without a contour is normal, whatever the patient's status is (Mini-DDSM
thesis, section 3.2.1): the thesis goes by the film, and by the breast goes who wants no film whose tumour
is marked in the other view only.
"""

from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.manifest import Sample, join_masks
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import image_files
from bccli.core.datasets.layout.indexes import TABLES, Line, path_inside, plain, read_index
from bccli.core.datasets.traits import MINI_DDSM, traits_in
from bccli.core.errors import DataError, SourceError
from bccli.core.reading.ages import age_of

_NEEDED = ("fullPath", "View", "Side", "Status", "Tumour_Contour")
_CONTOUR = plain("Tumour_Contour")
_STATUSES = {"Normal": "normal", "Benign": "benign", "Cancer": "cancer"}
_SIDES = {"LEFT": "L", "RIGHT": "R"}
_NONE = ("", "-")


def read_mini_ddsm(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the films that are there, in the order of the index.

    `source` is the index, or a folder that holds one. Raises DataError where there is no index, it lacks a
    column or a line cannot be meant.
    """
    if not source.exists():
        raise DataError(
            f"{source}: does not exist; name the index, or the folder that holds it and the images"
        )
    root = source if source.is_dir() else source.parent
    files = {name.lower(): name for name in image_files(root)}
    lines = _lines(source, files)
    marked = {_breast(line) for line in lines if _contours(line)}
    listed: set[str] = set()
    for line in lines:
        path = _path_in(line, "fullPath")
        if path.lower() in listed or path.lower() not in files:
            skip(path, "copy" if path.lower() in listed else "missing")
            continue
        listed.add(path.lower())
        contours = _contours(line)
        status = line.coded("Status", _STATUSES)
        if contours and status == "normal":
            skip(path, "contradiction")
        label = status if contours else "normal"
        if not contours and reading.protocol == "honest" and _breast(line) in marked:
            skip(path, "other_view")
        elif label in _wanted(reading.task):
            yield Sample(
                label=label,
                patient=_patient(line),
                dataset="mini-ddsm",
                source=files[path.lower()],
                view=line.filled("View").upper(),
                side=line.coded("Side", _SIDES),
                mask=join_masks(_masks(contours, files, reading, skip)),
                age=age_of(line.get("Age")),
                metadata=traits_in(line, MINI_DDSM, skip),
            )


def _masks(contours: list[str], files: dict[str, str], reading: Reading, skip: Skip) -> list[str]:
    """The files of a film's contours; none where one of them is not there and no masks are needed, as the
    rest would not show where all of the tumour is."""
    lost = [name for name in contours if name.lower() not in files]
    if lost and not reading.needs_masks:
        skip(lost[0], "mask_missing")
        return []
    return [files.get(name.lower(), name) for name in contours]


def _wanted(task: str) -> tuple[str, ...]:
    return ("benign", "cancer") if task == "malignancy" else tuple(_STATUSES.values())


def _lines(source: Path, files: dict[str, str]) -> list[Line]:
    """The lines of the index; of several the one of whose films the largest share is there."""
    if source.is_file():
        return list(read_index(source, _NEEDED))
    read: list[tuple[float, int, list[Line]]] = []
    reasons = []
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in TABLES):
        try:
            lines = list(read_index(path, _NEEDED))
        except DataError as error:
            reasons.append(str(error))
            continue
        there = sum(_path_in(line, "fullPath").lower() in files for line in lines)
        read.append((there / max(len(lines), 1), len(lines), lines))
    if read:
        return max(read, key=lambda entry: entry[:2])[2]
    if reasons:
        raise DataError(reasons[0])
    raise SourceError(f"{source}: holds no index such as DataWMask.xlsx or Dataset.csv; put it beside Benign")


def _contours(line: Line) -> list[str]:
    """The contours that a line names."""
    columns = [column for column in line.cells if column.startswith(_CONTOUR)]
    return [_path_in(line, column) for column in columns if line.cells[column] not in _NONE]


def _path_in(line: Line, column: str) -> str:
    """A path below the folder of the index, whichever slashes it has, and at its beginning."""
    text = line.get(column).replace("\\", "/").lstrip("/")
    return path_inside(text, column, line.where)


def _patient(line: Line) -> str:
    """Status and folder, since the numbers of folders repeat among Normal, Benign and Cancer."""
    folders = _path_in(line, "fullPath").split("/")[:-1]
    if not folders:
        raise DataError(f"{line.where}: fullPath has no folder, which would be the patient; correct it")
    return f"{line.coded('Status', _STATUSES).capitalize()}_{folders[-1]}"


def _breast(line: Line) -> tuple[str, str]:
    return _patient(line), line.coded("Side", _SIDES)
