"""The layouts of a folder of images: by class, by split and class, or by class and split."""

import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from bccli.core.data.foreign_tables import split_of
from bccli.core.datasets.layout.class_names import is_for_masks, masks_among
from bccli.core.datasets.layout.image_files import is_leftover, magnification_of, may_be_image
from bccli.core.errors import DataError

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask")
"""The names of folders of images, and of those of their masks."""

_MASKS_BELOW = 3


@dataclass(frozen=True)
class Layout:
    """The positions, counted from 0, of class and split (if any) among the folders in an image's path."""

    label: int = 0
    split: int | None = None

    @property
    def depth(self) -> int:
        """The least number of folders in which an image has to lie."""
        return max(self.label, self.split or 0) + 1

    def label_and_split(self, name: str) -> tuple[str, str]:
        """Class and split of an image by its path; an empty class where it lies outside of the layout."""
        folders = name.split("/")[:-1]
        if len(folders) < self.depth:
            return "", ""
        if self.split is None:
            return folders[self.label], ""
        split = split_of(folders[self.split])
        return (folders[self.label], split) if split else ("", "")

    def class_folder(self, name: str) -> str:
        """The path of an image up to its class."""
        return "/".join(name.split("/")[: self.label + 1])


def find_layout(source: Path) -> Layout:
    """The layout of a folder, by the names of the folders in it.

    Raises DataError where they are magnifications, splits without classes in them, or folders of masks.
    """
    first = folders_in(source)
    offset = 0
    if images := _beside_masks(first):
        offset, source = 1, source / images
        first = folders_in(source)
    if split_folders := _splits_among(first):
        _check_classes(source, split_folders)
        label_folders = [
            source / folder / name for folder in split_folders for name in folders_in(source / folder)
        ]
        layout = Layout(label=offset + 1, split=offset)
    elif _all_split(source, first):
        label_folders = [source / name for name in first]
        layout = Layout(label=offset, split=offset + 1)
    else:
        label_folders = [source / name for name in first]
        layout = Layout(label=offset)
    _check_magnifications(source, label_folders)
    _check_masks(source, label_folders)
    return layout


def _beside_masks(names: list[str]) -> str:
    """The folder of images among two, the other of which holds their masks; empty for any others."""
    images = [name for name in names if name.lower() in IMAGES]
    masks = [name for name in names if name.lower() in MASKS]
    return images[0] if len(images) == len(masks) == 1 and len(names) == 2 else ""


def folders_in(folder: Path) -> list[str]:
    """The folders in a folder by name, leftovers of systems left out; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not is_leftover(entry.name) and entry.is_dir())
    except OSError:
        return []


def _splits_among(names: Iterable[str]) -> list[str]:
    """The names that are splits, where train and another one are among them; else none."""
    split_folders = [name for name in names if split_of(name)]
    found = {split_of(name) for name in split_folders}
    return split_folders if "train" in found and len(found) > 1 else []


def _all_split(source: Path, classes: list[str]) -> bool:
    """Whether every class is divided into splits, one of them train."""
    split_folders = [folders_in(source / name) for name in classes]
    found = {split_of(name) for names in split_folders for name in names}
    return len(classes) > 1 and all(split_folders) and "" not in found and "train" in found and len(found) > 1


def _check_classes(source: Path, split_folders: list[str]) -> None:
    for folder in split_folders:
        if not folders_in(source / folder) and holds_images(source / folder):
            raise DataError(
                f"{source}: its folders {', '.join(split_folders)} are splits, and the images in {folder} "
                "lie in no folder of a class; sort them into one folder per class, or list them in a table "
                "for bccli prepare csv (path,label,split)"
            )


def _check_magnifications(source: Path, folders: list[Path]) -> None:
    found = [folder for folder in folders if magnification_of(folder.name)]
    if found and (len(found) > 1 or len(folders) == 1):
        found.sort(key=lambda folder: (len(folder.name), folder.name))
        names = ", ".join(dict.fromkeys(folder.name for folder in found))
        raise DataError(
            f"{source}: its folders {names} are magnifications, not classes; name one of them, such as "
            f"{found[0]}, or list the images of all in a table for bccli prepare csv (BreakHis: "
            "bccli prepare breakhis)"
        )


def _check_masks(source: Path, folders: list[Path]) -> None:
    names = {folder.name for folder in folders}
    for masks, images in masks_among(names):
        for folder in folders:
            if folder.name == masks and holds_images(folder, below=_MASKS_BELOW):
                raise DataError(
                    f"{folder}: is no class if it holds masks or overlays of the images in {images}; move "
                    f"masks to {folder.parent / images / MASKS[0]}, each with the name of its image, and "
                    "anything else out of the folder; rename it if it is a class"
                )
    for folder in folders:
        if folder.name.lower() not in MASKS and is_for_masks(folder.name) and _mirrors(folder, names):
            raise DataError(
                f"{folder}: is no class if it holds masks or overlays of the images beside it; call it "
                f"{MASKS[0]} if it holds masks (and the folder of the images, where there is one, "
                f"{IMAGES[0]}), else move it away"
            )


def _mirrors(folder: Path, classes: Container[str]) -> bool:
    """Whether a folder lies beside one of images, or has the same classes in it, and images in those."""
    beside = any(name.lower() in IMAGES for name in folders_in(folder.parent))
    within = any(name in classes for name in folders_in(folder))
    return (beside or within) and holds_images(folder, below=_MASKS_BELOW)


def holds_images(folder: Path, *, below: int = 0) -> bool:
    """Whether images lie in a folder, or in one that lies at most so many levels `below`."""
    try:
        with os.scandir(folder) as entries:
            listed = [entry for entry in entries if not is_leftover(entry.name)]
    except OSError:
        return False
    if any(may_be_image(entry.name) and entry.is_file() for entry in listed):
        return True
    return below > 0 and any(
        entry.is_dir() and holds_images(folder / entry.name, below=below - 1) for entry in listed
    )
