"""Finding image files in folders."""

import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from bccli.core.errors import DataError
from bccli.core.imaging.formats.decoding import SUFFIXES, is_dicom_file

_FOLDER, _LINKED_FOLDER, _FILE, _OTHER = range(4)

# What operating systems, archives, NAS boxes and DICOM viewers leave among images; names in small letters.
_LEFTOVERS = frozenset(
    {
        *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "@recently-snapshot"),
        *("$recycle.bin", "system volume information", "lost+found"),
        *("__pycache__", "dicomdir"),
    }
)
# Endings under which scanners and viewers export DICOM, and others quite different things.
_MAYBE_DICOM = frozenset({".acr", ".bin", ".dat", ".img"})
_WORD = re.compile(r"\.[a-z]+", re.IGNORECASE)

PassedOver = Callable[[str], None]
"""Is called with the path of a file that is no image by its name."""


def image_files(
    root: Path, *, closed_too: bool = False, passed_over: PassedOver | None = None
) -> Iterator[str]:
    """Yield the image files below `root` as relative paths with `/`, in the order of their names.

    Files are images by their endings; of those without an ending, or with one that is no word (such as
    the last number of a UID), DICOM is known by its content. The others are `passed_over`; hidden files and
    what systems leave behind (`is_leftover`) are not even counted. Links are followed, but no folder is
    entered twice: a link into `root` or to a folder around it is passed over. Raises DataError if `root` is
    no readable folder, or one below it is not; with `closed_too`, the latter is yielded in place of its
    images.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root}: {what}; name the folder that holds the images")
    note = (lambda name: None) if passed_over is None else passed_over
    walk = _Walk(os.path.realpath(root), set(), closed_too, note)
    yield from walk.below(root, "")


class _Walk:
    """One walk; `root` is the real path of the outermost folder, `linked` those that links led to."""

    def __init__(self, root: str, linked: set[str], closed_too: bool, passed_over: PassedOver) -> None:
        self._root, self._linked = root, linked
        self._closed_too, self._passed_over = closed_too, passed_over

    def below(self, folder: Path, prefix: str) -> Iterator[str]:
        """Yield the images of a folder."""
        try:
            with os.scandir(folder) as entries:
                listing = sorted(
                    (entry.name, _leads_to(entry)) for entry in entries if not is_leftover(entry.name)
                )
        except OSError as error:
            if self._closed_too and prefix:
                yield prefix.removesuffix("/")
                return
            raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
        for name, kind in listing:
            if kind == _FILE:
                if is_image_name(name) or (may_be_image(name) and is_dicom_file(folder / name)):
                    yield prefix + name
                else:
                    self._passed_over(prefix + name)
            elif kind == _OTHER:
                if is_image_name(name):  # a pipe, a device or a socket, which whoever opens it refuses
                    yield prefix + name
            elif kind == _FOLDER or (kind == _LINKED_FOLDER and self._is_new(folder / name)):
                yield from self.below(folder / name, f"{prefix}{name}/")

    def _is_new(self, link: Path) -> bool:
        """Whether a link leads to a folder that is neither inside nor around `root` nor reached before."""
        target = os.path.realpath(link)
        if target in self._linked or os.path.commonpath([target, self._root]) in (target, self._root):
            return False
        self._linked.add(target)
        return True


def _leads_to(entry: os.DirEntry[str]) -> int:
    """The kind of an entry or of its link's target; a link to nothing counts as an unreadable file."""
    try:
        if entry.is_dir():
            return _LINKED_FOLDER if entry.is_symlink() else _FOLDER
        return _FILE if entry.is_file() or entry.is_symlink() else _OTHER
    except OSError:
        return _FILE


def is_leftover(name: str) -> bool:
    """Whether a file or folder is hidden, or left among images by a system, an archive or a viewer."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name's ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def may_be_image(name: str) -> bool:
    """Whether a file is an image by its name, or may be DICOM, as no ending says what it is."""
    ending = os.path.splitext(name)[1].lower()
    return ending in SUFFIXES or ending in _MAYBE_DICOM or not _WORD.fullmatch(ending)


def dataset_files(
    source: Path, skip: Callable[[str, str], None], *, lists: Container[str] = ()
) -> Iterator[str]:
    """`image_files` for a reader of a dataset: what is passed over is remarked upon as "other".

    `lists` are names, in small letters, of files that the reader reads itself.
    """

    def passed_over(name: str) -> None:
        if name.rpartition("/")[2].lower() not in lists:
            skip(name, "other")

    return image_files(source, passed_over=passed_over)


def files_near(folder: Path, ending: str, *, levels: int = 2) -> Iterator[Path]:
    """Yield the files with an ending in a folder, then those in the folders at most `levels` below."""
    try:
        entries = sorted(path for path in folder.iterdir() if not is_leftover(path.name))
    except OSError:
        return
    yield from (path for path in entries if path.suffix.lower() == ending and path.is_file())
    if levels:
        for path in entries:
            if path.is_dir():
                yield from files_near(path, ending, levels=levels - 1)


class PassedOverFiles:
    """Counts files that were passed over, by their endings."""

    def __init__(self) -> None:
        self._endings: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        ending = os.path.splitext(name)[1].lower()
        is_ending = len(ending) <= _LONGEST_ENDING and not ending[1:].isdecimal()
        self._endings[ending if is_ending else ""] += 1

    def __bool__(self) -> bool:
        return bool(self._endings)

    def sentence(self) -> str:
        """As a warning, with the endings, such as `3 files are no images … (2 .txt, 1 without one)`."""
        total = self._endings.total()
        most = self._endings.most_common(_MOST_ENDINGS)
        counts = [f"{count} {ending or 'without one'}" for ending, count in most]
        rest = total - sum(count for _, count in most)
        counts += [f"{rest} others"] if rest else []
        one = "file is no image by its ending and was"
        several = "files are no images by their endings and were"
        return f"{total} {one if total == 1 else several} passed over ({', '.join(counts)})"


_LONGEST_ENDING = 10
_MOST_ENDINGS = 8


class Copies:
    """Tells a file name that was met before from a new one, at some 70 bytes each.

    For datasets in which no two images have the same name, whatever their folders and endings are.
    """

    def __init__(self) -> None:
        self._visited: set[int] = set()

    def __contains__(self, name: str) -> bool:
        mark = hash(stem_of(name).lower())  # of a million names, two collide once in 10^7 downloads
        if mark in self._visited:
            return True
        self._visited.add(mark)
        return False


def stem_of(name: str) -> str:
    """A file's name without its folders and without the endings of images, of which copies may have two."""
    stem = name.rsplit("/", 1)[-1]
    while is_image_name(stem):
        stem = os.path.splitext(stem)[0]
    return stem


def folder_magnification(name: str) -> str:
    """The magnification in the nearest folder that is called like `40X`, empty where none is."""
    for folder in reversed(name.split("/")[:-1]):
        if magnification := magnification_of(folder):
            return magnification
    return ""


_MAGNIFICATION = re.compile(r"(?P<number>\d{1,4}(?:\.\d)?)\s*[x×]|[x×]\s*(?P<behind>\d{1,4})", re.IGNORECASE)


def magnification_of(folder: str) -> str:
    """40 for a folder called 40X, 40 x, 40× or x40; empty for any other name."""
    match = _MAGNIFICATION.fullmatch(folder.strip())
    return (match["number"] or match["behind"]) if match else ""
