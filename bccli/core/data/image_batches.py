"""Prepared images as batches, decoded ahead of the network that consumes them.

Where a dataset has its pixels packed (`prepare --pack`), they are read from there, and from the PNG of each
image that is not in the pack, or not as the manifest says.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.data.dataset import PIXELS_FOLDER, without_images
from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.packs import PackedImages, PackError, open_pack, pack_path
from bccli.core.progress import SILENT, Watcher

# Batches that are decoded while a network is busy with the one before.
_AHEAD = 2

Batch = TypeVar("Batch")


def decode_prepared(path: Path) -> np.ndarray:
    """The pixels (height, width, 3) of a prepared image. Raises DataError naming a file that is damaged."""
    try:
        return decode(path)
    except ImageError as reason:
        raise DataError(f"{path}: {reason}; restore the file or prepare the dataset again") from None


def decode_sized(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The same of an image that has to be of `size` (width, height). Raises DataError where it is not."""
    pixels = decode_prepared(path)
    if pixels.shape[1::-1] != size:
        found = f"{pixels.shape[1]}×{pixels.shape[0]}"
        raise DataError(f"{path}: is {found}, not {size[0]}×{size[1]}; prepare the dataset again")
    return pixels


def pixels_of(root: Path, sample: Sample) -> np.ndarray:
    """The pixels (height, width, 3) of a prepared image of whatever size. Raises DataError naming it."""
    if not (sample.width and sample.height and sample.sha256):
        return decode_prepared(root / sample.path)
    return Images(root, (sample,), (sample.width, sample.height)).decoded(0)


class ImageSource(Protocol):
    """Images that can be had in batches, each with a row that says what it is and the hash of its pixels."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """A row for each image."""

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield uint8 batches (batch, height, width, 3) of the images at these positions."""

    def arrays(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield batches of the same as bytes, without TensorFlow."""

    def signature(self) -> Any:
        """The TensorSpec of a batch."""


@dataclass(frozen=True)
class Images:
    """Images of a prepared dataset, all of one size (width, height); of its pack, the `watcher` hears what is
    wrong with it."""

    root: Path
    samples: tuple[Sample, ...]
    size: tuple[int, int]
    watcher: Watcher = field(default=SILENT, compare=False, repr=False)

    @cached_property
    def pack(self) -> PackedImages | None:
        """The images in the pack of this size; None where there is none, or none of them is in it."""
        try:
            if (pack := open_pack(self.root / PIXELS_FOLDER, self.size)) is None:
                return None
        except PackError as error:
            self.warn(str(error))
            return None
        found = PackedImages(pack, [sample.sha256 for sample in self.samples], self.warn)
        if lacking := found.lacking:
            self.warn(f"lacks the pixels of {lacking} of {len(self.samples)} images")
        return None if lacking == len(self.samples) else found

    def warn(self, what: str) -> None:
        """Tell the watcher once what is wrong with the pack, in words that follow its path."""
        path = pack_path(self.root / PIXELS_FOLDER, self.size)
        told = _TOLD.setdefault(self.watcher, set())
        if path not in told:
            told.add(path)
            self.watcher.warn(
                f"{path}: {what}; the PNG files are read instead; remove it, and the same bccli prepare "
                "with --pack makes it anew"
            )

    def signature(self) -> Any:
        """The TensorSpec of a batch."""
        import tensorflow as tf

        return tf.TensorSpec((None, self.size[1], self.size[0], 3), tf.uint8)

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield uint8 tensors or arrays (batch, height, width, 3) of the samples in `order`.

        They are read ahead of the caller. Raises DataError naming the file that cannot be read.
        """
        if self.pack is None:
            return self._decoded_by_tensorflow(order, batch_size)
        return read_ahead(self.arrays(order, batch_size))

    def _decoded_by_tensorflow(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        import tensorflow as tf

        paths = [str(self.root / self.samples[position].path) for position in order]
        data = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))  # there may be none
        read = tf.autograph.experimental.do_not_convert(self._read)
        data = data.map(read, num_parallel_calls=available_cores(), deterministic=True)
        # What would find better numbers goes on for as long again after the last batch, and does nothing.
        options = tf.data.Options()
        options.autotune.enabled = False
        data = data.batch(batch_size).prefetch(_AHEAD).with_options(options)
        try:
            yield from data
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.UnknownError) as error:
            raise self._explain(order, error) from None

    def arrays(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3) of the samples in `order`, without TensorFlow."""
        with ThreadPoolExecutor(available_cores()) as pool:
            for start in range(0, len(order), batch_size):
                yield self._array(order[start : start + batch_size], pool)

    def _array(self, positions: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
        if self.pack is None:
            return np.stack(list(pool.map(self.decoded_png, positions.tolist())))
        pixels = np.empty((len(positions), self.size[1], self.size[0], 3), np.uint8)
        lacking = self.pack.fill(positions, pixels, pool)
        decoded = pool.map(self.decoded_png, (int(positions[index]) for index in lacking))
        for index, image in zip(lacking, decoded, strict=True):
            pixels[index] = image
        return pixels

    def decoded(self, position: int) -> np.ndarray:
        """The pixels (height, width, 3) of one image. Raises DataError naming it."""
        if self.pack is not None:
            pixels = np.empty((1, self.size[1], self.size[0], 3), np.uint8)
            if not self.pack.fill(np.array([position]), pixels):
                return pixels[0]
        return self.decoded_png(position)

    def decoded_png(self, position: int) -> np.ndarray:
        """The same from its PNG file, whether it is in the pack or not."""
        return decode_sized(self.root / self.samples[position].path, self.size)

    def training_batches(self, order: np.ndarray, turns: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the same: nothing is augmented."""
        return self.batches(order, batch_size)

    def steps_per_call(self, batch_size: int) -> int:
        """One."""
        return 1

    def _read(self, path: Any) -> Any:
        import tensorflow as tf

        pixels = tf.io.decode_png(tf.io.read_file(path), channels=3)
        return tf.ensure_shape(pixels, (self.size[1], self.size[0], 3))

    def _explain(self, order: np.ndarray, error: Exception) -> DataError:
        """The sentence for a batch that failed: TensorFlow does not say which file it was."""
        for position in order.tolist():
            try:
                self.decoded_png(position)
            except DataError as found:
                return found
        return DataError(f"{self.root}: an image could not be read ({str(error).splitlines()[0]})")


_TOLD: WeakKeyDictionary[Watcher, set[Path]] = WeakKeyDictionary()
"""The packs of which each watcher has heard what is wrong with them."""

HELD = 1 << 29
"""So many bytes of pixels may stay in memory; of more, images are decoded whenever they are wanted."""


@dataclass(frozen=True)
class HeldImages(Images):
    """Images that are decoded once, when they are first wanted, and stay in memory for several networks."""

    _pixels: list[np.ndarray] = field(default_factory=list, compare=False, repr=False)
    _decoded: set[int] = field(default_factory=set, compare=False, repr=False)

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield uint8 arrays (batch, height, width, 3) of the samples in `order`."""
        wanted = dict.fromkeys(order.tolist())
        self._decode([position for position in wanted if position not in self._decoded])
        return self._held(order, batch_size)

    def arrays(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield uint8 arrays (batch, height, width, 3) of the samples in `order`."""
        held = self._decoded.issuperset(order.tolist())
        return self._held(order, batch_size) if held else super().arrays(order, batch_size)

    def _held(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(order), batch_size):
            yield self._pixels[0][order[start : start + batch_size]]

    def _decode(self, missing: list[int]) -> None:
        if not self._pixels:  # which takes no memory before it is written to
            shape = len(self.samples), self.size[1], self.size[0], 3
            self._pixels.append(np.empty(shape, np.uint8))
        done = 0
        for batch in super().batches(np.array(missing, np.int64), 32) if missing else ():
            now = missing[done : done + len(batch)]
            self._pixels[0][now] = np.asarray(batch)
            self._decoded.update(now)
            done += len(batch)


class Opener:
    """Opens prepared images; those of the call before are held where the same are wanted again."""

    def __init__(self) -> None:
        self._last: Images | None = None

    def __call__(self, root: Path, samples: Sequence[Sample], watcher: Watcher = SILENT) -> Images:
        """As `open_images`."""
        images = open_images(root, samples, watcher)
        if self._last is not None and self._last.samples == images.samples and self._last.root == root:
            return self._last
        width, height = images.size
        small = len(images.samples) * width * height * 3 <= HELD
        self._last = HeldImages(root, images.samples, images.size, watcher) if small else images
        return self._last


def open_images(root: Path, samples: Sequence[Sample], watcher: Watcher = SILENT) -> Images:
    """The images of these samples. Raises DataError where they differ in size, or are elsewhere."""
    sizes = {(sample.width or 0, sample.height or 0) for sample in samples}
    if (0, 0) in sizes:
        raise without_images(root)
    if len(sizes) > 1:
        few = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)[:3])
        more = ", …" if len(sizes) > 3 else ""
        raise DataError(f"{root}: the images have {len(sizes)} sizes ({few}{more}); prepare them with --size")
    return Images(root, tuple(samples), sizes.pop(), watcher)


def read_ahead(batches: Iterator[Batch], ahead: int = _AHEAD) -> Generator[Batch, None, None]:
    """Yield batches that a thread takes from their source, so many of them before they are wanted.

    Raises what the source raises. Whoever closes this has closed the source, once it has given what it is at.
    """
    ready: SimpleQueue[Batch | BaseException] = SimpleQueue()
    room, closed = Semaphore(ahead), Event()

    def read() -> None:
        try:
            while room.acquire() and not closed.is_set():
                ready.put(next(batches))
        except BaseException as error:
            ready.put(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        while not isinstance(batch := ready.get(), BaseException):
            yield batch
            room.release()
        if not isinstance(batch, StopIteration):
            raise batch
    finally:
        closed.set()
        room.release()
        thread.join()
        if isinstance(batches, Generator):
            batches.close()
