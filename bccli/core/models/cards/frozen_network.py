"""A card's network as a function from prepared images to feature vectors."""

from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from bccli.core.data.image_batches import ImageSource, read_ahead
from bccli.core.errors import BccliError, WeightsError, first_line
from bccli.core.models.cards.card import Card
from bccli.core.models.cards.card_files import CardFiles
from bccli.core.models.cards.runtimes_of_cards import Runtime, open_runtime

BATCH, GPU_BATCH = 8, 64
"""So many images go through a network at a time on a CPU and on a GPU, unless its file says how many: large
networks gain nothing by more, and the last batch of few images costs as much as any."""

_REMEMBERED = 128 << 20
"""The bytes of images whose features `Remembering` still knows."""


@dataclass(eq=False)
class FrozenNetwork:
    """From images uint8 (n, height, width, 3) of a card's size to features float32 (n, width)."""

    card: Card
    runtime: Runtime
    _width: int = 0

    def __post_init__(self) -> None:
        self._check_input()

    @property
    def batch_size(self) -> int:
        """How many images go through it at a time."""
        return self.runtime.shape[0] or (BATCH if "CPU" in self.runtime.device else GPU_BATCH)

    @property
    def width(self) -> int:
        """How many features there are; a black image shows it where nothing has been computed yet."""
        if not self._width:
            width, height = self.card.size
            self(np.zeros((1, height, width, 3), np.uint8))
        return self._width

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features float32 (n, width). Raises WeightsError where the network cannot compute them."""
        if not (fixed := self.runtime.shape[0]):
            return self.of_inputs(self.inputs(images))
        rows = []
        for start in range(0, len(images), fixed):
            some = images[start : start + fixed]
            lacking = np.repeat(some[-1:], fixed - len(some), axis=0)
            rows.append(self.of_inputs(self.inputs(np.concatenate([some, lacking])))[: len(some)])
        return np.concatenate(rows)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Images as the network takes them: in its layout, range and type."""
        card, dtype = self.card, self.runtime.dtype
        if card.channels == "gray":
            images = np.round(images @ _LUMA)[..., None]  # Rec. 601, as in cv2 and Pillow
        elif card.channels == "BGR":
            images = images[..., ::-1]
        low, high = card.range
        factor, offset = (high - low) / 255, low
        moved = np.moveaxis(images, -1, 1) if card.layout == "NCHW" else images
        if (factor, offset, card.mean, card.std) == (1.0, 0.0, (0.0,) * 3, (1.0,) * 3):
            return np.ascontiguousarray(moved, dtype)
        values = np.empty(moved.shape, np.float32)
        for channel in range(images.shape[-1]):
            at = (slice(None), channel) if card.layout == "NCHW" else (..., channel)
            scale = factor / card.std[channel]
            np.multiply(moved[at], np.float32(scale), out=values[at], dtype=np.float32)
            values[at] += np.float32((offset - card.mean[channel]) / card.std[channel])
        return values.astype(dtype, copy=False)

    def of_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Features float32 (n, width) of what `inputs` made."""
        try:
            outputs = self.runtime.run(inputs)
        except Exception as error:  # each runtime has its own kinds
            if isinstance(error, MemoryError | BccliError):
                raise
            raise WeightsError(
                f"{self.card.name}: cannot compute images of {self.card.size[0]}×{self.card.size[1]} "
                f"({first_line(error)}); compare the card's size, layout and output with the network"
            ) from None
        vectors = [_vectors(np.asarray(one), self.card) for one in outputs]
        features = vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1)
        if len(features) != len(inputs):
            raise WeightsError(
                f"{self.card.name}: makes {len(features)} vectors of {len(inputs)} images; compare the "
                "card's output with the network"
            )
        self._check_width(features.shape[1])
        return np.array(features, np.float32)  # a copy, as runtimes write into theirs again

    def _check_width(self, width: int) -> None:
        if self.card.width and width != self.card.width:
            raise WeightsError(
                f"{self.card.name}: makes {width} numbers of an image, and its card says {self.card.width}; "
                "compare its output and pooling with the network"
            )
        self._width = width

    def _check_input(self) -> None:
        """Raises WeightsError where the file's input contradicts the card."""
        shape, card = self.runtime.shape, self.card
        width, height = card.size
        depth = 1 if card.channels == "gray" else 3
        wanted = (depth, height, width) if card.layout == "NCHW" else (height, width, depth)
        fits = len(shape) == 4 and all(
            side in (None, own) for side, own in zip(shape[1:], wanted, strict=True)
        )
        if not fits:
            found = "×".join("any" if side is None else str(side) for side in shape[1:])
            raise WeightsError(
                f"{card.name}: its file takes {found or 'something else'}, and the card says "
                f"{'×'.join(map(str, wanted))} ({card.layout}, {card.channels}); correct its size, layout or "
                "channels"
            )


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _vectors(tensor: np.ndarray, card: Card) -> np.ndarray:
    """A tensor of some images as a vector (n, width) for each. Raises WeightsError for one that is none."""
    if tensor.ndim == 2 and card.pooling in ("auto", "none", "average"):
        return tensor
    if tensor.ndim == 4 and card.pooling in ("auto", "average"):
        return _averages(tensor, card)
    if tensor.ndim == 3 and card.pooling != "none" and tensor.shape[1] > card.tokens_before:
        token = tensor[:, 0]
        if card.pooling in ("auto", "class-token"):
            return token
        mean = tensor[:, card.tokens_before :].mean(axis=1, dtype=np.float32)
        return mean if card.pooling == "average" else np.concatenate([token, mean], axis=1)
    if card.pooling == "none" and tensor.ndim in (3, 4) and 1 in tensor.shape[1:]:
        flat = tensor.reshape(len(tensor), -1)  # such as (n, width, 1, 1)
        if flat.shape[1] in tensor.shape[1:]:
            return flat
    sides = "×".join(map(str, tensor.shape[1:])) or "one number"
    raise WeightsError(
        f"{card.name}: its output is {sides} for an image, which pooling {card.pooling!r} makes no vector "
        "of; name another output or pooling in the card"
    )


def _averages(maps: np.ndarray, card: Card) -> np.ndarray:
    """The averages (n, channels) of maps, whose two sides are alike where the card does not say which."""
    layout = card.output_layout or _layout_of(maps.shape, card)
    averages: np.ndarray = maps.mean(axis=(2, 3) if layout == "NCHW" else (1, 2), dtype=np.float32)
    return averages


def _layout_of(shape: Sequence[int], card: Card) -> str:
    """The layout that a map's sides tell: they have the aspect of the image."""
    width, height = card.size
    first, second, third = shape[1:]
    as_nchw = second * width == third * height
    as_nhwc = first * width == second * height
    if as_nchw != as_nhwc:
        return "NCHW" if as_nchw else "NHWC"
    return card.layout


@dataclass(eq=False)
class Remembering:
    """A network whose features of the images of late are known: several heads ask for the same ones."""

    network: FrozenNetwork
    _known: "OrderedDict[bytes, np.ndarray]" = field(default_factory=OrderedDict)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features float32 (n, width) of images uint8 (n, height, width, 3)."""
        key = hash_of(images)
        if (found := self._known.get(key)) is None:
            found = self._known[key] = self.network(images)
            while len(self._known) > max(1, _REMEMBERED // max(images.nbytes, 1)):
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return found


def hash_of(images: np.ndarray) -> bytes:
    """What tells a batch of images from others."""
    import hashlib

    digest = hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=16)
    digest.update(repr(images.shape).encode())
    return digest.digest()


@dataclass(frozen=True)
class CardMaker:
    """Features of images, batch by batch, for a store of features (see `training.features.Maker`)."""

    network: FrozenNetwork

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return self.network.width

    @property
    def batch_size(self) -> int:
        """So many images are worth to be asked for at once, or a multiple of it."""
        return self.network.batch_size

    def vectors(self, images: ImageSource, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yield vectors (batch, width) of the images at these positions."""
        with closing(read_ahead(self._inputs(images, order))) as batches:
            for inputs, count in batches:
                yield self.network.of_inputs(inputs)[:count]

    def _inputs(self, images: ImageSource, order: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Yield full batches as the network takes them, and how many images there are in each."""
        size = self.batch_size
        for pixels in images.arrays(order, size):
            lacking = np.repeat(pixels[-1:], size - len(pixels), axis=0)
            whole = np.concatenate([pixels, lacking]) if len(lacking) else pixels
            yield self.network.inputs(whole), len(pixels)


def open_network(card: Card, files: CardFiles, device: str = "auto") -> FrozenNetwork:
    """The network of a card, opened once in a process. Raises WeightsError where its file is not what the
    card says."""
    return _opened(card, files.folder, files.main, tuple(files.hashes.items()), device)


@lru_cache(maxsize=4)
def _opened(
    card: Card, folder: Path, main: str, hashes: tuple[tuple[str, str], ...], device: str
) -> FrozenNetwork:
    return FrozenNetwork(card, open_runtime(card, CardFiles(folder, main, dict(hashes)), device))
