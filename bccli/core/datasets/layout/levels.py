"""Suggestions where a folder does not hold the dataset: another level of it, or an archive in it."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bccli.core.catalog import DATASETS
from bccli.core.data.foreign_tables import split_of
from bccli.core.datasets.layout.folders import folders_in, holds_images
from bccli.core.datasets.layout.image_files import is_leftover

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_LEVELS = 2
_IMAGES_BELOW = 3
_MOST_CLASSES = 50
_CLASS_WORDS = re.compile(
    r".*(normal|benign|malignan|cancer|carcinoma|tumou?r|healthy|idc|dcis|in ?situ|invasive|grade|positive"
    r"|negative).*|[01]",
    re.IGNORECASE,
)


def better_source(dataset: str, source: Path) -> str:
    """Suggest a better source than one with too few images, as `; …`; empty where there is none."""
    if not source.is_dir():
        return ""
    if archive := next(iter(_entries(source, lambda path: path.name.lower().endswith(_ARCHIVES))), None):
        return f"; unpack {archive.name} first"
    row = DATASETS[dataset]
    if row.index:
        found = _with_index(source, row.index) or _above(source, row.inside)
    elif row.inside:
        found = _above(source, row.inside)
    else:
        found = _class_folders(source)
    return f"; name the folder {found} instead" if found else ""


def _above(source: Path, inside: str) -> Path | None:
    """The nearest folder above that holds several folders named like `inside`, one around the source."""

    def is_alike(path: Path) -> bool:
        return bool(re.fullmatch(inside, path.name, re.IGNORECASE)) and path.is_dir()

    path = source.absolute()
    for folder in (path, *path.parents):
        if is_alike(folder) and len(_entries(folder.parent, is_alike)) > 1:
            return folder.parent
    return None


def _with_index(source: Path, index: str) -> Path | None:
    """The nearest folder, at most two levels below or above, with a file whose name matches `index`."""

    def holds_index(folder: Path) -> bool:
        return bool(_entries(folder, lambda path: bool(re.fullmatch(index, path.name, re.IGNORECASE))))

    near = (*_below(source), *source.absolute().parents[:_LEVELS])
    return next(filter(holds_index, near), None)


def _class_folders(source: Path) -> Path | None:
    """The only folder below that holds several classes, or the one above of which the source is a class."""
    for level in range(1, _LEVELS + 1):
        if found := [folder for folder in _at_level(source, level) if _has_classes(folder)]:
            return found[0] if len(found) == 1 else None
    if not holds_images(source, below=_IMAGES_BELOW):
        return None
    above = [folder for folder in source.absolute().parents[:_LEVELS] if _has_classes(folder)]
    like_classes = [folder for folder in above if any(map(_CLASS_WORDS.fullmatch, folders_in(folder)))]
    return next(iter([*like_classes, *above]), None)


def _has_classes(folder: Path) -> bool:
    """Whether several folders with images lie in a folder, as classes do, or splits of them."""
    names = folders_in(folder)
    if not 1 < len(names) <= _MOST_CLASSES or {name.lower() for name in names} == {"images", "masks"}:
        return False
    if sum(bool(split_of(name)) for name in names) > 1:
        return all(folders_in(folder / name) for name in names)
    return sum(holds_images(folder / name, below=_IMAGES_BELOW) for name in names) > 1


def _below(source: Path) -> Iterator[Path]:
    """The folders one level below, then those two levels below."""
    for level in range(1, _LEVELS + 1):
        yield from _at_level(source, level)


def _at_level(source: Path, level: int) -> list[Path]:
    folders = [source]
    for _ in range(level):
        folders = [folder / name for folder in folders for name in folders_in(folder)]
    return folders


def _entries(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """The wanted entries of a folder by name, leftovers of systems left out; none where it is closed."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not is_leftover(name) and wanted(folder / name)]
