"""A prepared dataset on the disk: its marker, its settings, its samples."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bccli.core.data.manifest import MOST_FOLDS, SPLITS, Sample, content_hash, read_rows
from bccli.core.data.positive_class import UNKNOWN, Positive
from bccli.core.errors import DataError
from bccli.core.files import leaves_folder, read_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = 1
MARKER = "bccli"

_PATHS = ("path", "parent", "mask")
"""The columns of a manifest that name files of the dataset."""
_NEEDED = ("classes", "preparation", "dataset", "protocol", "positive")
_SHA256 = re.compile("[0-9a-f]{64}")
_MAX_SIDE = 2**28


@dataclass(frozen=True)
class Dataset:
    """A complete prepared dataset; `hash` covers the manifest as it is now."""

    root: Path
    info: dict[str, Any]
    samples: tuple[Sample, ...]
    hash: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(self.info["classes"])

    @property
    def preparation(self) -> Preparation:
        """What a raw image has to go through to look like these."""
        return preparation_from_json(self.info["preparation"])

    @property
    def positive(self) -> Positive:
        """The positive class, and how it came about."""
        return Positive(self.info["positive"], self.info.get("positive_origin", UNKNOWN))

    @property
    def positive_facts(self) -> dict[str, str | None]:
        """What run.json says of the positive class: with other than two classes, there is none."""
        if len(self.classes) != 2:
            return {"positive": None, "positive_origin": None}
        return {"positive": self.positive.name, "positive_origin": self.positive.origin}

    @property
    def allows_leakage(self) -> bool:
        """Whether it was made by the paper's protocol: who chooses that insists on what it leaks."""
        return str(self.info["protocol"]).startswith("paper")

    def frame(self) -> "DataFrame":
        """The manifest as a frame of pandas: text is empty and numbers are NA where they are unknown."""
        from bccli.core.data.frames import frame_of_samples

        return frame_of_samples(self.samples)

    @property
    def folds(self) -> int:
        """How many folds there are, 0 where the dataset has splits."""
        return max((sample.fold + 1 for sample in self.samples if sample.fold is not None), default=0)


def load_dataset(root: Path) -> Dataset:
    """Read a prepared dataset. Raises DataError where it is none, unfinished, or of a newer format."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; make it with bccli prepare")
    if not (root / "dataset.json").exists():
        unfinished = (root / ".unfinished").exists()
        advice = f"run the same {_maker(root)} again" if unfinished else "make one with bccli prepare"
        state = "its preparation is unfinished" if unfinished else "is not a prepared dataset"
        raise DataError(f"{root}: {state} (it has no dataset.json); {advice}")
    info = read_info(root / "dataset.json", FORMAT, _NEEDED, "prepare the dataset again")
    samples = tuple(read_rows(root / "manifest.csv"))
    paths: set[str] = set()
    for sample in samples:
        if fault := _fault(sample, info["classes"], paths):
            where = f"{root / 'manifest.csv'}: {sample.path or 'a row'}"
            raise DataError(f"{where} {fault}; correct it or prepare the dataset again")
        paths.add(sample.path)
    if twice := next((sample for sample in samples if sample.mask in paths), None):
        raise DataError(
            f"{root / 'manifest.csv'}: {twice.path} has a mask ({twice.mask}) that is another row's image; "
            "correct it or prepare the dataset again"
        )
    return Dataset(root, info, samples, content_hash(samples))


def _maker(root: Path) -> str:
    """The command that was at work on an unfinished dataset."""
    with suppress(DataError, TypeError):
        if "per_image" in read_json(root / ".unfinished" / "settings.json"):
            return "bccli augment"
    return "bccli prepare"


def read_info(path: Path, format: int, needed: Iterable[str], remedy: str) -> dict[str, Any]:
    """What bccli wrote in a dataset.json or run.json of this `format`, or of an earlier one.

    Raises DataError where somebody else wrote it, a newer bccli, or where a key of `needed` is missing.
    """
    info = read_json(path)
    if not isinstance(info, dict) or info.get("tool") != MARKER:
        raise DataError(f"{path}: was not written by bccli; name a folder that bccli made")
    if not isinstance(info.get("format"), int):
        raise DataError(f"{path}: has no format number; {remedy}")
    if info["format"] > format:
        raise DataError(
            f"{path}: was written by a newer bccli (format {info['format']}, not {format}); update this one"
        )
    for key in needed:
        if key not in info:
            raise DataError(f"{path}: has no {key!r}; {remedy}")
    return info


def _fault(sample: Sample, classes: list[str], paths: set[str]) -> str:
    """What is wrong with a row of the manifest, in words that follow its path; empty where nothing is."""
    if not sample.path:
        return "has an empty path"
    for column in _PATHS:
        name = getattr(sample, column)
        if name and (leaves_folder(name) or name.startswith(".")):
            return f"has a {column} ({name!r}) that leaves the dataset"
    if sample.path in paths:
        return "is there twice"
    if sample.label not in classes:
        return f"has the unknown label {sample.label!r}"
    if sample.split and sample.split not in SPLITS:
        return f"has the split {sample.split!r}, which is none of {', '.join(SPLITS)}"
    if sample.fold is not None and not 0 <= sample.fold < MOST_FOLDS:
        return f"has the fold {sample.fold}, which is not between 0 and {MOST_FOLDS - 1}"
    if not all(1 <= (side or 0) <= _MAX_SIDE for side in (sample.width, sample.height)):
        return f"has the impossible size {sample.width}×{sample.height}"
    if not _SHA256.fullmatch(sample.sha256):
        return "has a sha256 that is not 64 hexadecimal digits"
    return ""


def first_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first setting that differs, as `key VALUE, now VALUE`; empty where none does."""
    for key in [*here, *(key for key in there if key not in here)]:
        if there.get(key) != here.get(key):
            if key in ("listing", "data"):
                return "other images than there are now"
            name = _SPELLINGS.get(key, key.replace("_", "-"))
            mark = "x" if key == "size" else "," if key != "ratios" else "/"
            return f"{name} {_plain(there.get(key), mark)}, now {_plain(here.get(key), mark)}"
    return ""


# Settings whose options are called otherwise.
_SPELLINGS = {
    "by": "split-by",
    "magnifications": "magnification",
    "test_magnifications": "test-magnification",
    "weights_hash": "weights of the content",
    "augment_hash": "augment of the content",
    "features_from": "features-from of the content",
}


def _plain(value: Any, mark: str) -> str:
    if isinstance(value, list):
        texts = (f"{part:g}" if isinstance(part, float) else str(part) for part in value)
        return mark.join(texts) or "none"
    return "none" if value is None or value == "" else str(value)
