"""Finding image files in folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from bccli.core.errors import DataError
from bccli.core.imaging.decoding import SUFFIXES


def image_files(root: Path) -> Iterator[str]:
    """Yield the image files below `root` as relative paths with `/`, in the order of their names.

    Hidden files and folders, and files that are no images by their ending, are passed over; links are
    followed, but no folder is entered twice. Raises DataError if `root` is no readable folder.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root}: {what}; name the folder that holds the images")
    yield from _walk(root, "", set())


def _walk(folder: Path, prefix: str, entered: set[tuple[int, int]]) -> Iterator[str]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    try:
        with os.scandir(folder) as entries:
            listing = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name[0] != ".")
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
    for name, is_folder in listing:
        if is_folder:
            yield from _walk(folder / name, f"{prefix}{name}/", entered)
        elif is_image_name(name):
            yield prefix + name


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name's ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES
