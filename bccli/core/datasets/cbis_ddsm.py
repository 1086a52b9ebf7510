"""CBIS-DDSM (Lee et al. 2017, DOI 10.1038/sdata.2017.177): one sample per lesion, by its mask.

Four CSV files list the lesions, and for each the paths `CASE/STUDY/SERIES/000000.dcm` of its mammogram,
its mask and a crop. Downloads keep the UIDs of studies and series as folders, or write
`CASE/07-20-2016-DDSM-74994/1.000000-full mammogram images-24515/1-1.dcm` with the UIDs' last digits; the
JPEG copy has a folder per series and `dicom_info.csv`. Mask and crop are swapped in part of the rows, so
the files of both are candidates, among which `load_lesion` finds the mask by its pixels.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bccli.core.data.manifest import Sample, join_masks
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.image_files import files_near, image_files, is_image_name
from bccli.core.datasets.layout.indexes import path_inside, read_index
from bccli.core.datasets.loading import (
    Raw,
    black_and_white,
    check_marks,
    check_shape,
    grey_of,
    is_two_valued,
    root_of,
    scaled_to,
)
from bccli.core.datasets.traits import CBIS, traits_in
from bccli.core.errors import DataError, ImageError, SourceError
from bccli.core.imaging.formats.decoding import DICOM_SUFFIXES, decode_deep

_LISTS = re.compile(r"(mass|calc)_case_description_(train|test)_set.*\.csv", re.IGNORECASE)
_INFO = "dicom_info.csv"
_IMAGE, _CROP, _MASK = "image file path", "cropped image file path", "ROI mask file path"
_NEEDED = ("patient_id", "left or right breast", "image view", "abnormality type", "pathology")
_KINDS = {"masses": ("mass",), "calcifications": ("calc",), "all": ("mass", "calc")}
_LABELS = {"MALIGNANT": "malignant", "BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign"}
_SIDES = {"LEFT": "L", "RIGHT": "R"}

_UID = re.compile(r"\d+(?:\.\d+){5,}")
_CASE = re.compile(r"(?:mass|calc)-(?:training|test)_P_\d+_(?:left|right)_(?:cc|mlo)(?:_\d+)?", re.IGNORECASE)
_TAIL = re.compile(r"-(\d{5})$")
_DIGITS = 5


def read_cbis(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the lesions of the task whose files are there, in the order of the lists.

    Raises DataError where there is no list, one lacks a column or a line cannot be meant.
    """
    lists = _lists(source, _KINDS[reading.task or "masses"])
    files = _Files(source)
    for path in lists:
        match = _LISTS.fullmatch(path.name)
        assert match is not None
        for line in read_index(path, (*_NEEDED, _IMAGE, _CROP, _MASK)):
            paths = {
                column: path_inside(line.filled(column), column, line.where)
                for column in (_IMAGE, _CROP, _MASK)
            }
            image = files.find(paths[_IMAGE])[:1]
            masks = dict.fromkeys([*files.find(paths[_MASK]), *files.find(paths[_CROP])])
            if not image or (reading.needs_masks and not masks):
                skip(paths[_MASK] if image else paths[_IMAGE], "missing")
                continue
            if not masks:
                skip(paths[_MASK], "mask_missing")
            yield Sample(
                label=line.coded("pathology", _LABELS),
                split=match[2].lower(),
                patient=line.filled("patient_id"),
                dataset="cbis-ddsm",
                source=image[0],
                subtype=line.filled("abnormality type"),
                view=line.filled("image view"),
                side=line.coded("left or right breast", _SIDES),
                mask=join_masks(masks),
                metadata=traits_in(line, CBIS, skip),
            )


def _lists(source: Path, kinds: tuple[str, ...]) -> list[Path]:
    """The CSV files of these kinds of lesions, in the folder or at most two levels below."""
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"{source}: {what}; name the folder that holds the CSV files and the images")
    found = [path for path in files_near(source, ".csv") if _LISTS.fullmatch(path.name)]
    wanted = sorted(
        (path for path in found if path.name.lower().startswith(kinds)),
        key=lambda path: (path.name.lower().replace("_test_", "_z_"), str(path)),
    )
    if not wanted:
        raise SourceError(
            f"{source}: holds no {kinds[0]}_case_description_train_set.csv; "
            "download the four CSV files and put them beside the images"
        )
    return wanted


class _Files:
    """The images below a folder by what the CSV files call them: the UID of their series, or the case with
    the last digits of the UIDs of study and series. DICOM comes before JPEG."""

    def __init__(self, source: Path) -> None:
        self._by_series: dict[str, list[str]] = {}
        self._by_digits: dict[tuple[str, str, str], list[str]] = {}
        names = sorted(image_files(source), key=lambda name: (not _is_dicom(name), name))
        for name in names:
            folders = name.split("/")[:-1]
            uids = [uid for folder in folders for uid in _UID.findall(folder)]
            if uids:
                self._by_series.setdefault(uids[-1], []).append(name)
            if key := _digits(folders):
                self._by_digits.setdefault(key, []).append(name)
        for info in (path for path in files_near(source, ".csv") if path.name == _INFO):
            self._add_info(info, {"/".join(name.split("/")[-2:]): name for name in names})

    def _add_info(self, path: Path, by_path_end: dict[str, str]) -> None:
        """Images of the JPEG copy by its own table, whatever their folders are called."""
        for line in read_index(path, ("image_path", "SeriesInstanceUID")):
            path_end = "/".join(line.get("image_path").replace("\\", "/").split("/")[-2:])
            files = self._by_series.setdefault(line.get("SeriesInstanceUID"), [])
            if path_end in by_path_end and by_path_end[path_end] not in files:
                files.append(by_path_end[path_end])

    def find(self, path: str) -> list[str]:
        """The images of the series that a CSV's path is in; the one of the same name first."""
        *folders, name = path.split("/")
        if len(folders) < 3:
            return []
        case, study, series = folders[-3:]
        digits = case.lower(), study[-_DIGITS:], series[-_DIGITS:]
        found = self._by_series.get(series) or self._by_digits.get(digits, [])
        return sorted(found, key=lambda file: (not _is_dicom(file), not file.endswith(f"/{name}")))


def _digits(folders: list[str]) -> tuple[str, str, str] | None:
    """Case, and last digits of study and series, of folders that are called by them."""
    if len(folders) < 3 or not _CASE.fullmatch(folders[-3]):
        return None
    study, series = _TAIL.search(folders[-2]), _TAIL.search(folders[-1])
    return (folders[-3].lower(), study[1], series[1]) if study and series else None


def _is_dicom(name: str) -> bool:
    return not is_image_name(name) or name[name.rfind(".") :].lower() in DICOM_SUFFIXES


def load_lesion(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the mammogram, and of the candidates the mask: it has two values and the mammogram's size.

    Of 78 of the 1,696 masses the mask is 0.870 times as large in both directions: it is scaled, unless
    another candidate has the right size.
    """
    root = root_of(source)
    image = decode_deep(root / sample.source)
    if not sample.mask:
        return Raw(image)
    shape = image.shape[:2]
    largest_first = sorted(sample.masks, key=lambda name: -_bytes(root / name))
    reasons, smaller = [], None
    for name in largest_first:
        try:
            mask = _as_mask(root / name, name, shape)
        except ImageError as error:
            reasons.append(str(error))
            continue
        if mask.shape == shape:
            return Raw(image, mask)
        smaller = mask if smaller is None else smaller
    if smaller is None:
        raise ImageError("; ".join(reasons))
    return Raw(image, scaled_to(shape, smaller), "mask_scaled")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _as_mask(path: Path, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A mask uint8 of 0 and 255, of its own size. Raises ImageError for what is none, with the reason."""
    try:
        levels = grey_of(decode_deep(path))
    except ImageError as error:
        raise ImageError(f"its mask {name} {error}") from None
    check_shape(name, levels, shape)
    if not is_two_valued(levels):
        raise ImageError(f"its file {name} has more values than the two of a mask")
    mask = black_and_white(levels)
    check_marks(name, mask)
    return mask
