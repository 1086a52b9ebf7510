"""What may be meant where a folder does not hold the dataset: another level of it, or an archive in it."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from bccli.core.catalog import DATASETS
from bccli.core.datasets.walking import is_image_name

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")


def better_source(dataset: str, source: Path) -> str:
    """What to do about a source with too little in it, as `; …`; empty where nothing suggests itself."""
    if not source.is_dir():
        return ""
    if archive := next(iter(_entries(source, lambda path: path.name.lower().endswith(_ARCHIVES))), None):
        return f"; unpack {archive.name} first"
    inside = DATASETS[dataset].inside
    found = _above(source, inside) if inside else _class_folders(source)
    return f"; name the folder {found} instead" if found else ""


def _above(source: Path, inside: str) -> Path | None:
    """The nearest folder above whose part the source is of, and which has other such parts."""

    def is_part(path: Path) -> bool:
        return bool(re.fullmatch(inside, path.name, re.IGNORECASE)) and path.is_dir()

    path = source.absolute()
    for part in (path, *path.parents):
        if is_part(part) and len(_entries(part.parent, is_part)) > 1:
            return part.parent
    return None


def _class_folders(source: Path) -> Path | None:
    """The only folder in the source, if it holds several; the one above, if images lie in the source."""
    folders = _entries(source, lambda path: path.is_dir())
    if len(folders) == 1 and len(_entries(folders[0], lambda path: path.is_dir())) > 1:
        return folders[0]
    if not folders and _entries(source, lambda path: is_image_name(path.name)):
        return source.absolute().parent
    return None


def _entries(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """The wanted entries of a folder by name, hidden ones left out; none where it cannot be listed."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if name[0] != "." and wanted(folder / name)]
