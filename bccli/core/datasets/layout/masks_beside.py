"""Masks that lie beside images: known by their names, and never images themselves."""

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bccli.core.datasets.layout.class_names import is_for_masks
from bccli.core.datasets.layout.folders import IMAGES, MASKS
from bccli.core.datasets.layout.image_files import is_leftover, may_be_image, stem_of
from bccli.core.datasets.layout.named_after import Twin, named_after

_BESIDE = re.compile(r"(?P<stem>.+?)[ _-]mask(?:[ _-]?\d+)?", re.IGNORECASE)
_CACHED = 32
"""So many listings of folders stay in memory: those of the folders above the walk, and of a few beside."""


@dataclass(frozen=True)
class _Listing:
    """The folders and the possible images in a folder, by name."""

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Folder:
    """The masks in a folder by the stems of their images, and the files that are masks, all by their names.

    `twins` are other files that are named after images.
    """

    masks: Mapping[str, list[str]] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    orphans: frozenset[str] = frozenset()
    twins: Mapping[str, Twin] = field(default_factory=dict)


class MasksBeside:
    """Tells masks from images below a folder, and which mask belongs to which image.

    A mask has its image's stem plus `_mask`, `-mask` or ` mask` and perhaps a number, in the same folder, or
    (with or without that) the stem in a folder called `masks` that lies beside the image or anywhere above
    it: `benign/masks/a.png`, or `masks/benign/a.png` and `images/benign/a.png`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listings: OrderedDict[str, _Listing] = OrderedDict()
        self._folders: OrderedDict[str, _Folder] = OrderedDict()

    def masks_of(self, name: str) -> tuple[str, ...]:
        """The masks of the image `name`, relative to the root as this, in the order of their names."""
        folder, _, file = name.rpartition("/")
        masks = self._folder(folder).masks
        return tuple(masks.get(stem_of(file).lower(), ())) if masks else ()

    def is_mask(self, name: str) -> bool:
        """Whether the file is a mask."""
        folder, _, file = name.rpartition("/")
        found = self._folder(folder)
        return file in found.own or file in found.orphans

    def is_orphan(self, name: str) -> bool:
        """Whether the file is a mask whose image is not there."""
        folder, _, file = name.rpartition("/")
        return file in self._folder(folder).orphans

    def twin_of(self, name: str) -> Twin | None:
        """The image after which a file is named that is no mask by its name, as masks by other names are."""
        folder, _, file = name.rpartition("/")
        return self._folder(folder).twins.get(file)

    def _folder(self, folder: str) -> _Folder:
        if folder not in self._folders:
            _store(self._folders, folder, self._look_at(folder))
        return self._folders[folder]

    def _look_at(self, folder: str) -> _Folder:
        if images := self._partners(folder, lambda level: level.lower() in MASKS):
            return self._of_masks(folder, images)
        found = self._with_masks(folder)
        files = set(self._listing(folder).files) - found.own - found.orphans
        return replace(found, twins=named_after(files) | self._twins_elsewhere(folder, files))

    def _with_masks(self, folder: str) -> _Folder:
        """A folder of images, perhaps with masks beside them or elsewhere."""
        files = self._listing(folder).files
        named = {name: match for name in files if (match := _named_mask(name))}
        elsewhere = [other for other in self._mask_folders(folder) if self._listing(other).files]
        if not named and not elsewhere:
            return _Folder()
        stems = {stem_of(name).lower() for name in files if name not in named}
        stems |= {stem_of(name).lower() for name, stem in named.items() if stem not in stems}
        own = {name: stem for name, stem in named.items() if stem in stems}
        masks: dict[str, list[str]] = {}
        for name, stem in own.items():
            masks.setdefault(stem, []).append(_join(folder, name))
        for other in elsewhere:
            for name in self._listing(other).files:
                if stem := _stem_in(name, stems):
                    masks.setdefault(stem, []).append(_join(other, name))
        orphans = frozenset(named) - frozenset(own) if own else frozenset()
        return _Folder(masks, frozenset(own), orphans)

    def _of_masks(self, folder: str, images: list[str]) -> _Folder:
        """A folder of masks, all of whose files are masks, of images in other folders."""
        stems = self._stems_in(images)
        files = self._listing(folder).files
        own = frozenset(name for name in files if _stem_in(name, stems))
        return _Folder(own=own, orphans=frozenset(files) - own)

    def _twins_elsewhere(self, folder: str, files: Iterable[str]) -> dict[str, Twin]:
        """Of a folder called such as `gt`, the files with the stems of images beside that."""
        stems = self._stems_in(self._partners(folder, is_for_masks))
        named = ((name, stem_of(name).lower()) for name in files if stems)
        return {name: Twin(stem, "/") for name, stem in named if stem in stems}

    def _stems_in(self, folders: Iterable[str]) -> set[str]:
        return {stem_of(name).lower() for folder in folders for name in self._listing(folder).files}

    def _partners(self, folder: str, holds_masks: Callable[[str], bool]) -> list[str]:
        """The folders of images to which a folder of masks belongs; none where it is no such folder."""
        levels = folder.split("/") if folder else []
        found = []
        for depth, level in enumerate(levels):
            if holds_masks(level):
                above = levels[:depth]
                beside = self._called("/".join(above), IMAGES)
                found += ["/".join([*above, *middle, *levels[depth + 1 :]]) for middle in ([], *beside)]
        return [path for path in found if self._listing(path).files]

    def _mask_folders(self, folder: str) -> Iterator[str]:
        """Yield the folders where masks may lie: `masks` is added to the path, or replaces `images` in it."""
        levels = folder.split("/") if folder else []
        for depth in range(len(levels) + 1):
            for masks in self._called("/".join(levels[:depth]), MASKS):
                yield "/".join([*levels[:depth], *masks, *levels[depth:]])
                if depth < len(levels) and levels[depth].lower() in IMAGES:
                    yield "/".join([*levels[:depth], *masks, *levels[depth + 1 :]])

    def _called(self, folder: str, names: tuple[str, ...]) -> list[list[str]]:
        """The folders in a folder that have one of these names, whatever their capitals; each in a list."""
        return [[name] for name in self._listing(folder).folders if name.lower() in names]

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            _store(self._listings, folder, _list(self._root / folder))
        self._listings.move_to_end(folder)
        return self._listings[folder]


def _store(
    cache: "OrderedDict[str, _Listing] | OrderedDict[str, _Folder]", folder: str, found: object
) -> None:
    cache[folder] = found  # type: ignore[assignment]
    if len(cache) > _CACHED:
        cache.popitem(last=False)


def _list(folder: Path) -> _Listing:
    """The entries of a folder by name; none where it cannot be listed, which the walk reports."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_leftover(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif may_be_image(entry.name):
                    files.append(entry.name)
    except OSError:
        return _Listing()
    return _Listing(tuple(sorted(folders)), tuple(sorted(files)))


def _named_mask(name: str) -> str:
    """The stem, in small letters, of the image whose mask a file is by its name; empty for none."""
    if "mask" not in name.lower():
        return ""
    match = _BESIDE.fullmatch(stem_of(name))
    return match["stem"].lower() if match else ""


def _stem_in(name: str, stems: set[str]) -> str:
    """The stem of the image to which a file in a folder of masks belongs; empty for none."""
    return next((stem for stem in (stem_of(name).lower(), _named_mask(name)) if stem in stems), "")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
