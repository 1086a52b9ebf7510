"""Packing: the pixels of a prepared dataset once more, in one array for each size of its images.

What is packed is read from the PNG files and compared with the manifest, so that a pack holds what they hold.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccli.core import interruption
from bccli.core.data.dataset import JOURNALS_FOLDER, PIXELS_FOLDER
from bccli.core.data.image_batches import decode_sized
from bccli.core.data.manifest import Sample
from bccli.core.errors import BccliError, DataError
from bccli.core.files import inside, remove_folder, replacing, settle, write_text
from bccli.core.imaging.hashes import pixel_hash
from bccli.core.imaging.packs import LINE, PackError, Size, hashes_path, open_pack, pack_path
from bccli.core.progress import Watcher
from bccli.core.reading.regular_files import read_bytes

_AT_A_TIME = 1 << 24
"""About so many bytes of pixels are in memory."""


@dataclass(frozen=True)
class SizePack:
    """The path and the hash of each image of one size of the dataset `root`, in the order of its manifest."""

    root: Path
    size: Size
    images: tuple[tuple[str, str], ...]

    @property
    def bytes(self) -> int:
        """About the bytes that the pack takes."""
        return len(self.images) * (self.size[0] * self.size[1] * 3 + LINE)

    @property
    def lines(self) -> str:
        """The hash of each image, a line for each."""
        return "".join(f"{text}\n" for _, text in self.images)

    @property
    def is_there(self) -> bool:
        """Whether the pack is on the disk, whole, and has these images; its pixels are not looked at."""
        folder, lines = self.root / PIXELS_FOLDER, self.lines.encode()
        try:
            pack = open_pack(folder, self.size)
            found = read_bytes(hashes_path(pack_path(folder, self.size)), len(lines))
        except (PackError, OSError, DataError):
            return False
        return pack is not None and found == lines


def packs_of(root: Path, samples: Iterable[Sample]) -> list[SizePack]:
    """The packs of the images of a dataset, narrow ones first, whether they are there or not."""
    by_size: dict[Size, list[tuple[str, str]]] = {}
    for sample in samples:
        size = sample.width or 0, sample.height or 0
        by_size.setdefault(size, []).append((sample.path, sample.sha256))
    return [SizePack(root, size, tuple(images)) for size, images in sorted(by_size.items())]


def remove_packs(root: Path) -> None:
    """Remove the packs of a dataset, and what a killed process left of some. Raises DataError for a link."""
    for folder in (_UNFINISHED, PIXELS_FOLDER):
        inside(root, f"{folder}/file")
        remove_folder(root / folder)


def write_packs(packs: Sequence[SizePack], workers: int, watcher: Watcher) -> None:
    """Replace the packs of a dataset; all of them are there at once, or none is.

    Raises BccliError where the disk has too little room, DataError naming an image that is not what the
    manifest says, Stopped after a signal.
    """
    root = packs[0].root
    remove_packs(root)
    _check_room(packs)
    (root / _UNFINISHED).mkdir(parents=True)
    try:
        _write_all(packs, workers, watcher)
        settle(root)
        os.rename(root / _UNFINISHED, root / PIXELS_FOLDER)
    except BaseException:
        shutil.rmtree(root / _UNFINISHED, ignore_errors=True)
        raise
    settle(root)


_UNFINISHED = f"{JOURNALS_FOLDER}/{PIXELS_FOLDER}"
"""Where packs lie until all of them are written."""


def _check_room(packs: Sequence[SizePack]) -> None:
    root = packs[0].root
    wanted, free = sum(pack.bytes for pack in packs), shutil.disk_usage(root).free
    if wanted > free:
        raise BccliError(
            f"{root / PIXELS_FOLDER}: the packed pixels take {wanted:,} bytes, but the disk has only "
            f"{free:,} free; make room or leave --pack out"
        )


def _write_all(packs: Sequence[SizePack], workers: int, watcher: Watcher) -> None:
    images = sum(len(pack.images) for pack in packs)
    with (
        interruption.deferred(),
        watcher.track(images, "packed images") as advance,
        ThreadPoolExecutor(workers) as pool,
    ):
        for pack in packs:
            _write(pack, pool, advance)


def _write(pack: SizePack, pool: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
    path, (width, height) = pack_path(pack.root / _UNFINISHED, pack.size), pack.size
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(pack.images), height, width, 3)}
    with replacing(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in _batches(pack):
            for pixels in pool.map(lambda image: _pixels(pack, *image), batch):
                stream.write(np.ascontiguousarray(pixels).data)
            advance(len(batch))
            interruption.stop_if_requested()
    write_text(hashes_path(path), pack.lines)


def _batches(pack: SizePack) -> Iterator[tuple[tuple[str, str], ...]]:
    step = max(1, _AT_A_TIME // (pack.size[0] * pack.size[1] * 3))
    for start in range(0, len(pack.images), step):
        yield pack.images[start : start + step]


def _pixels(pack: SizePack, path: str, expected: str) -> np.ndarray:
    """The pixels of an image. Raises DataError where they have not the hash that is expected."""
    pixels = decode_sized(pack.root / path, pack.size)
    if pixel_hash(pixels) != expected:
        raise DataError(
            f"{pack.root / path}: has other pixels than the manifest says; copy the dataset again, or "
            "prepare it again with --overwrite"
        )
    return pixels
