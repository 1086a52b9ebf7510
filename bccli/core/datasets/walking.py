"""Finding image files in folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from bccli.core.errors import DataError
from bccli.core.imaging.decoding import SUFFIXES

_FOLDER, _LINKED_FOLDER, _FILE, _OTHER = range(4)


def image_files(root: Path, *, closed_too: bool = False) -> Iterator[str]:
    """Yield the image files below `root` as relative paths with `/`, in the order of their names.

    Hidden files and folders, and files that are no images by their ending, are passed over. Links are
    followed, but no folder is entered twice: a link into `root` or to a folder around it is passed over.
    Raises DataError if `root` is no readable folder, or one below it is not; with `closed_too`, the latter
    is yielded in place of its images.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root}: {what}; name the folder that holds the images")
    yield from _walk(root, "", os.path.realpath(root), set(), closed_too)


def _walk(folder: Path, prefix: str, root: str, linked: set[str], closed_too: bool) -> Iterator[str]:
    """Yield the images of a folder; `root` is the real path of the outermost, `linked` those of links."""
    try:
        with os.scandir(folder) as entries:
            listing = sorted((entry.name, _leads_to(entry)) for entry in entries if entry.name[0] != ".")
    except OSError as error:
        if closed_too and prefix:
            yield prefix.removesuffix("/")
            return
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
    for name, kind in listing:
        if kind == _FILE and is_image_name(name):
            yield prefix + name
        elif kind == _FOLDER or (kind == _LINKED_FOLDER and _is_new(folder / name, root, linked)):
            yield from _walk(folder / name, f"{prefix}{name}/", root, linked, closed_too)


def _leads_to(entry: os.DirEntry[str]) -> int:
    """What an entry is or links to; a link to nothing counts as a file, one that cannot be read."""
    try:
        if entry.is_dir():
            return _LINKED_FOLDER if entry.is_symlink() else _FOLDER
        return _FILE if entry.is_file() or entry.is_symlink() else _OTHER
    except OSError:
        return _FILE


def _is_new(link: Path, root: str, linked: set[str]) -> bool:
    """Whether a link leads to a folder that is neither inside nor around `root` nor reached before."""
    target = os.path.realpath(link)
    if target in linked or os.path.commonpath([target, root]) in (target, root):
        return False
    linked.add(target)
    return True


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name's ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


class Copies:
    """Tells a file name that was met before from a new one, at some 70 bytes each.

    For datasets in which no two images have the same name, whatever their folders are.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __contains__(self, name: str) -> bool:
        mark = hash(name.rsplit("/", 1)[-1].lower())  # of a million names, two collide once in 10^7 downloads
        if mark in self._seen:
            return True
        self._seen.add(mark)
        return False


def folder_magnification(name: str) -> str:
    """The magnification in the nearest folder that is called like `40X`, empty where none is."""
    for folder in reversed(name.split("/")[:-1]):
        if folder[-1:].lower() == "x" and folder[:-1].isdecimal():
            return folder[:-1]
    return ""
