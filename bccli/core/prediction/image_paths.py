"""The images that `predict` is asked about: files, all below folders, and paths on standard input."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import islice
from pathlib import Path

from bccli.core.data.dataset import refuse_without_images
from bccli.core.datasets.layout.image_files import PassedOverFiles, image_files
from bccli.core.datasets.layout.masks_beside import MasksBeside
from bccli.core.errors import DataError


@dataclass
class LeftOut:
    """The files in the named folders that are no images: `others` by their endings, `masks` beside images."""

    others: PassedOverFiles = field(default_factory=PassedOverFiles)
    masks: int = 0
    first_mask: str = ""

    def add_mask(self, path: str) -> None:
        """Count a mask."""
        self.masks += 1
        self.first_mask = self.first_mask or path

    def sentences(self) -> list[str]:
        """Warnings about these files."""
        found = [self.others.sentence()] if self.others else []
        if self.masks:
            what = (
                f"{self.masks} masks beside images were" if self.masks > 1 else "a mask beside its image was"
            )
            found.append(f"{what} passed over ({self.first_mask}); name a mask itself to have it labelled")
        return found


class Upcoming(Iterator[str]):
    """Images as they come, of which some can be looked for before they are taken."""

    def __init__(self, images: Iterator[str]) -> None:
        self._images = images
        self._found: deque[str] = deque()
        self._taken = 0

    def __next__(self) -> str:
        image = self._found.popleft() if self._found else next(self._images)
        self._taken += 1
        return image

    def at_least(self, count: int) -> bool:
        """Whether there are so many images, those that have been taken included; waits for them."""
        missing = count - self._taken - len(self._found)
        self._found.extend(islice(self._images, max(0, missing)))
        return self._taken + len(self._found) >= count


def find_images(inputs: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Yield the images that the inputs name: files as they are, folders with all below them.

    A folder that cannot be listed is yielded itself: it becomes a row with an error, as a bad file does.
    `left_out` takes up what is passed over in folders. Raises DataError for a dataset that has no images.
    """
    for name in inputs:
        if not os.path.isdir(name):
            yield name
            continue
        refuse_without_images(Path(name))
        masks = MasksBeside(Path(name))
        for image in image_files(Path(name), closed_too=True, passed_over=left_out.others):
            if masks.is_mask(image):
                left_out.add_mask(str(Path(name, image)))
            else:
                yield str(Path(name, image))


def images_named(inputs: Iterable[str], left_out: LeftOut, *, named: str) -> Upcoming:
    """What `find_images` yields. Raises DataError, with what was `named`, where there is none."""
    images = Upcoming(find_images(inputs, left_out))
    if not images.at_least(1):
        others = f" ({'; '.join(left_out.sentences())})" if left_out.others else ""
        raise DataError(f"no images were found in {named}{others}; name images or folders that hold some")
    return images


def folder_around(folder: Path, inputs: Iterable[str]) -> str | None:
    """The first folder among the inputs that a folder is, or lies in, links followed; None where there is
    none."""
    place = folder.resolve()
    return next((name for name in inputs if os.path.isdir(name) and _holds(Path(name), place)), None)


def _holds(outer: Path, place: Path) -> bool:
    return place.is_relative_to(outer.resolve())


def names_from(stream: BufferedReader, *, null: bool) -> Iterator[str]:
    """Yield the paths that a stream holds, one a line or ended by NUL, as they come.

    Raises DataError where there is none, or where they end otherwise.
    """
    end, rest, empty = b"\0" if null else b"\n", b"", True
    while block := stream.read1(1 << 16):
        if b"\0" in block and not null:
            raise DataError("standard input has paths that end with NUL; add --null")
        *lines, rest = (rest + block).split(end)
        for name in filter(None, (_name(line, null) for line in lines)):
            yield name
            empty = False
    if name := _name(rest, null):
        yield name
    elif empty:
        raise DataError("standard input names no images; pipe paths into it, one a line")


def _name(line: bytes, null: bool) -> str:
    return (line if null else line.removesuffix(b"\r")).decode("utf-8", "surrogateescape")
