"""A card: what a network's file takes and gives, whose it is, and what it was trained on.

It is a TOML file of a dozen lines. `file` and `sha256` name the network; `size`, `layout`, `channels`,
`range`, `mean` and `std` say how pixels reach it, `output` and `pooling` which of its tensors is the feature
vector; the rest is for people to read.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bccli.core.catalog import BACKBONES, Backbone, nearest
from bccli.core.data.manifest import is_sha256
from bccli.core.errors import DataError, UsageError
from bccli.core.reading.regular_files import explained
from bccli.core.reading.texts import read_toml

SUFFIX = ".toml"
ONNX, TFLITE, KERAS = ".onnx", ".tflite", ".keras"
LAYOUTS = ("NCHW", "NHWC")
CHANNELS = ("RGB", "BGR", "gray")
POOLINGS = ("auto", "none", "average", "class-token", "class-token-and-average")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_SIDE = 8192


@dataclass(frozen=True)
class Card:
    """A frozen network by its file.

    Images are (width, height) `size`; 0 and 255 become the ends of `range`, then `mean` is taken away and
    what is left divided by `std`, for each of `channels`. `output` are names of tensors, whose vectors are
    joined; where there is none, the file has one output. `pooling` makes a vector of a tensor: of maps their
    average, of tokens the first one, or the average of those behind the first `tokens_before`. The card lies
    at `path`. `files` are the SHA-256 of others that the file has its weights in.
    """

    name: str
    file: str
    size: tuple[int, int]
    range: tuple[float, float]
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: str = ""
    channels: str = "RGB"
    output: tuple[str, ...] = ()
    output_layout: str = ""
    pooling: str = "auto"
    tokens_before: int = 1
    licence: str = ""
    pretrained_on: str = ""
    redistribute: bool = False
    source: str = ""
    width: int = 0
    export: str = ""
    path: Path = Path()
    text: str = ""

    @property
    def suffix(self) -> str:
        """What kind of file it is: one of .onnx, .tflite and .keras."""
        return Path(self.file).suffix.lower()

    @property
    def is_template(self) -> bool:
        """Whether it came with bccli, without a file that it could know the hash of."""
        return bool(self.export)

    @property
    def row(self) -> Backbone:
        """The network as a row of the table of backbones, whose layers nobody counts."""
        return Backbone(self.name, "", "none", max(self.size), 0, 0, licence=self.licence, smallest=1)

    @property
    def computing(self) -> dict[str, Any]:
        """All by which features differ, besides the file."""
        names = ("size", "layout", "channels", "range", "mean", "std", "output", "output_layout", "pooling")
        known = {name: getattr(self, name) for name in (*names, "tokens_before")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}

    def identity(self, hashes: Mapping[str, str]) -> str:
        """What tells its features from others: a hash of its files' hashes and of what is done to pixels."""
        known = [sorted(hashes.values()), self.computing]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def check_size(self, size: tuple[int, int], where: object) -> None:
        """Raises DataError where images of `size` (width, height) are not what the network takes."""
        if size != self.size:
            wanted, found = (f"{width}×{height}" for width, height in (self.size, size))
            raise DataError(
                f"{where}: its images are {found}, and {self.name} takes {wanted}; prepare them with --size "
                f"{self.size[0]}x{self.size[1]}"
            )


def is_card(name: str) -> bool:
    """Whether what --backbone names is a card, by a file or one of the templates."""
    return name.lower().endswith(SUFFIX) or name in templates()


def templates() -> dict[str, Path]:
    """The cards that come with bccli, without weights, by their names."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob(f"*{SUFFIX}"))}


def find_card(name: str) -> Card:
    """The card that --backbone names. Raises UsageError where there is none, or it cannot be meant."""
    return read_card(templates().get(name) or Path(name))


def read_card(path: Path) -> Card:
    """A card. Raises UsageError naming the key that is wrong."""
    try:
        values = read_toml(path)
    except FileNotFoundError:
        raise UsageError(
            f"--backbone {path}: no such card; name a TOML file, or a built-in backbone"
        ) from None
    except OSError as error:
        raise UsageError(f"--backbone {path}: cannot be read, as it {explained(error)}") from None
    except (ValueError, DataError) as error:
        raise UsageError(f"--backbone {path}: is no TOML ({error}); correct it") from None
    card = _card(values, f"--backbone {path}")
    text = path.read_text("utf-8-sig")
    return replace(card, path=path.resolve(), text=text)


_TEXTS = ("name", "file", "sha256", "layout", "channels", "pooling", "output_layout", "licence",
          "pretrained_on", "source", "export")  # fmt: skip
_KEYS = tuple(one.name for one in fields(Card) if one.name not in ("path", "text"))
_NEEDED = ("name", "file", "size", "range")


def _card(values: Mapping[str, Any], where: str) -> Card:
    for key in values:
        if key not in _KEYS:
            raise UsageError(f"{where}: has the unknown key {key!r}{nearest(key, _KEYS)}; correct it")
    for key in _NEEDED:
        if key not in values:
            raise UsageError(f"{where}: has no {key}; add it")
    known: dict[str, Any] = {key: _text(values[key], f"{where}: {key}") for key in _TEXTS if key in values}
    known["size"] = _size(values["size"], f"{where}: size")
    low, high = _numbers(values["range"], 2, f"{where}: range")
    if low >= high:
        raise UsageError(f"{where}: range {[low, high]} does not rise; it is what 0 and 255 become")
    known["range"] = (low, high)
    known |= {key: _numbers(values[key], 3, f"{where}: {key}") for key in ("mean", "std") if key in values}
    if "files" in values:
        known["files"] = _hashes(values["files"], f"{where}: files")
    known["output"] = _names(values.get("output", []), f"{where}: output")
    for key, least in (("tokens_before", 0), ("width", 1)):
        if key in values:
            known[key] = _whole(values[key], least, f"{where}: {key}")
    if "redistribute" in values:
        if not isinstance(values["redistribute"], bool):
            raise UsageError(f"{where}: redistribute is neither true nor false; correct it")
        known["redistribute"] = values["redistribute"]
    return _checked(Card(**known), where)


def _checked(card: Card, where: str) -> Card:
    if not _NAME.fullmatch(card.name) or card.name in BACKBONES:
        raise UsageError(
            f"{where}: name {card.name!r} is taken by a built-in backbone, or is no name of letters, digits, "
            "dots and dashes that a folder can have; choose another one"
        )
    if card.suffix not in (ONNX, TFLITE, KERAS):
        raise UsageError(f"{where}: file {card.file!r} ends in none of {ONNX}, {TFLITE} and {KERAS}")
    choices = (("layout", LAYOUTS), ("output_layout", LAYOUTS), ("channels", CHANNELS), ("pooling", POOLINGS))
    for key, names in choices:
        value = getattr(card, key)
        if value and value not in names:
            raise UsageError(f"{where}: {key} {value!r} is none of {', '.join(names)}{nearest(value, names)}")
    if card.sha256 and not is_sha256(card.sha256.lower()):
        raise UsageError(f"{where}: sha256 {card.sha256[:80]!r} is not 64 hexadecimal digits; correct it")
    if not all(value > 0 for value in card.std):
        raise UsageError(f"{where}: std {list(card.std)} is divided by, and has to be above 0; correct it")
    _check_scale(card, where)
    layout = card.layout or ("NCHW" if card.suffix == ONNX else "NHWC")
    return replace(card, sha256=card.sha256.lower(), layout=layout)


_NARROWEST = 1 / 50
"""A deviation of pixels is no smaller share of their range; 1 stands for none."""


def _check_scale(card: Card, where: str) -> None:
    """Raises UsageError where mean and deviation are not those of pixels in the card's range, such as those
    of pixels from 0 to 1 beside a range from 0 to 255."""
    low, high = card.range
    for key, fits in (
        ("mean", lambda value: value == 0 or low <= value <= high),
        ("std", lambda value: value == 1 or _NARROWEST <= value / (high - low) <= 1),
    ):
        values = getattr(card, key)
        if not all(map(fits, values)):
            raise UsageError(
                f"{where}: {key} {list(values)} cannot be that of pixels from {low:g} to {high:g}, the "
                "card's range; correct one of them"
            )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where} is no text; put it into quotation marks")
    return value


def _whole(value: Any, least: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1 << 20:
        raise UsageError(f"{where} {value!r} is no whole number from {least} on; correct it")
    return value


def _size(value: Any, where: str) -> tuple[int, int]:
    """Width and height from [width, height], WxH or one number for both."""
    if isinstance(value, str):
        value = [int(text) if text.isdecimal() else text for text in value.lower().split("x")]
    sides = [value] if isinstance(value, int) else value
    if not isinstance(sides, list) or len(sides) not in (1, 2):
        raise UsageError(f"{where} {value!r} is not [width, height], such as [224, 224]; correct it")
    width, height = (_whole(side, 1, where) for side in (sides * 2)[:2])
    if max(width, height) > _MOST_SIDE:
        raise UsageError(f"{where} {value!r} has more than {_MOST_SIDE:,} pixels a side; correct it")
    return width, height


def _numbers(value: Any, count: int, where: str) -> Any:
    """So many finite numbers; one stands for three."""
    values = [value] * count if _is_number(value) and count == 3 else value
    if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
        raise UsageError(f"{where} {value!r} is not a list of {count} numbers; correct it")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _hashes(value: Any, where: str) -> dict[str, str]:
    """The SHA-256 of further files by their names."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise UsageError(
            f'{where} {value!r} is no table, such as {{ "net.onnx.data" = "SHA-256" }}; correct it'
        )
    for digest in value.values():
        if not is_sha256(digest.lower()):
            raise UsageError(f"{where}: {digest[:80]!r} is not 64 hexadecimal digits; correct it")
    return {name: digest.lower() for name, digest in value.items()}


def _names(value: Any, where: str) -> tuple[str, ...]:
    names: Sequence[Any] = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"{where} {value!r} is neither a name nor a list of names; correct it")
    if len(set(names)) < len(names):
        raise UsageError(f"{where} {value!r} names one twice; correct it")
    return tuple(names)
