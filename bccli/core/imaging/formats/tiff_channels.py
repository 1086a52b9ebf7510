"""The meaning of a TIFF's pages by microscopes and ImageJ: channels, slices or points in time."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from bccli.core.errors import ImageError

if TYPE_CHECKING:
    from tifffile import TiffFile

_CHANNELS = "channels"
_COLOURS = ("red", "green", "blue")
_UNNAMED = re.compile(r"(?:channel|ch|c)?[ :_#-]*[\d:]*", re.IGNORECASE)
_WHITE = 0xFFFFFFFF
# Red, green and blue as OME writes them: four bytes, of which the last is opaqueness.
_OME_COLOURS = {0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue"}


@dataclass(frozen=True)
class Channels:
    """The numbers of pages of each kind, such as channels or slices, and the names of the channels.

    `names` are red, green and blue in the order of the channels where they are known, "" each where nothing
    is said, and anything else is the file's own word.
    """

    counts: dict[str, int]
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Such as `3 channels × 5 slices`."""
        several = {kind: count for kind, count in self.counts.items() if count > 1}
        return " × ".join(f"{count} {kind}" for kind, count in several.items())

    @property
    def planes(self) -> int:
        """The number of all planes."""
        planes = 1
        for count in self.counts.values():
            planes *= count
        return planes

    def order(self) -> tuple[int, ...]:
        """The indices of red, green and blue. Raises ImageError where the planes are something else."""
        if self.planes != 3 or self.counts.get(_CHANNELS) != 3:
            raise ImageError(f"holds {self}; one image is needed, in RGB or grey")
        if not any(self.names):
            return 0, 1, 2
        if sorted(self.names) != sorted(_COLOURS):
            called = ", ".join(filter(None, self.names))
            raise ImageError(f"holds 3 channels that are not red, green and blue ({called[:100]})")
        return tuple(self.names.index(colour) for colour in _COLOURS)


def channels_of(tiff: "TiffFile") -> Channels | None:
    """The channels that a file names, None where it names none. Raises ImageError for damaged metadata."""
    if tiff.is_ome:
        return _of_ome(tiff.ome_metadata or "")
    if tiff.is_imagej:
        return _of_imagej(tiff.imagej_metadata or {})
    return None


def _of_imagej(metadata: dict[str, Any]) -> Channels:
    """ImageJ shows up to three channels of a composite in red, green and blue unless it has tables."""
    counts = {kind: int(metadata.get(kind) or 1) for kind in (_CHANNELS, "slices", "frames")}
    images = int(metadata.get("images") or 1)
    result = Channels(counts, tuple(_colour_of(table) for table in metadata.get("LUTs") or ()))
    if result.planes != images:
        return Channels({"pages": images})
    if counts[_CHANNELS] > 1 and metadata.get("mode") == "grayscale":
        return Channels({"grey channels": counts.pop(_CHANNELS), **counts})
    return result


def _colour_of(table: Any) -> str:
    """The name of the colour to which an ImageJ table (3, 256) leads."""
    red, green, blue = (int(value) for value in table[:, -1])
    pure = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue"}
    return pure.get((red, green, blue), f"colour {red},{green},{blue}")


def _of_ome(text: str) -> Channels:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise ImageError("is damaged (its OME description)") from None
    pixels = [element for element in root.iter() if _tag(element) == "Pixels"]
    if not pixels:
        return Channels({})
    area = max(map(_area, pixels))
    largest, *others = (element for element in pixels if _area(element) == area)
    channels = [element for element in largest if _tag(element) == "Channel"]
    samples = sum(int(channel.get("SamplesPerPixel") or 1) for channel in channels)
    several = _size(largest, "C")
    if channels and samples == several:  # RGB in one page counts as three channels
        several = len(channels)
    counts = {_CHANNELS: several, "slices": _size(largest, "Z"), "frames": _size(largest, "T")}
    counts["images of one size"] = 1 + len(others)
    names = tuple(map(_name_of, channels))
    return Channels(counts, names if several == 3 else ())


def _tag(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _size(pixels: ElementTree.Element, axis: str) -> int:
    return int(pixels.get(f"Size{axis}") or 1)


def _area(pixels: ElementTree.Element) -> int:
    return _size(pixels, "X") * _size(pixels, "Y")


def _name_of(channel: ElementTree.Element) -> str:
    """red, green, blue, the channel's own name, or "" where it says nothing."""
    name = channel.get("Name") or channel.get("Fluor") or ""
    if not _UNNAMED.fullmatch(name):
        return name.lower()
    colour = int(channel.get("Color") or -1) & _WHITE
    return "" if colour == _WHITE else _OME_COLOURS.get(colour >> 8, f"colour {colour >> 8:06x}")
