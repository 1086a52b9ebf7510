"""A prepared dataset on the disk: its marker, its settings, its samples."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bccli.core.errors import DataError
from bccli.core.files import read_json
from bccli.core.imaging.preparation import Preparation, preparation_from_json
from bccli.core.records import Sample, content_hash, read_rows

FORMAT = 1
MARKER = "bccli"


@dataclass(frozen=True)
class Dataset:
    """A complete prepared dataset; `hash` covers the manifest as it is now."""

    root: Path
    info: dict[str, Any]
    samples: tuple[Sample, ...]
    hash: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order; the last one is positive unless `positive` says otherwise."""
        return tuple(self.info["classes"])

    @property
    def preparation(self) -> Preparation:
        """What a raw image has to go through to look like these."""
        return preparation_from_json(self.info["preparation"])

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
        advice = "run the same bccli prepare again" if unfinished else "make one with bccli prepare"
        state = "its preparation is unfinished" if unfinished else "is not a prepared dataset"
        raise DataError(f"{root}: {state} (it has no dataset.json); {advice}")
    info = read_json(root / "dataset.json")
    if not isinstance(info, dict) or info.get("tool") != MARKER:
        raise DataError(f"{root}: its dataset.json was not written by bccli; make one with bccli prepare")
    if info["format"] > FORMAT:
        raise DataError(f"{root}: was prepared by a newer bccli ({info['version']}); update this one")
    samples = tuple(read_rows(root / "manifest.csv"))
    for sample in samples:
        _check(sample, info["classes"], root)
    return Dataset(root, info, samples, content_hash(samples))


def _check(sample: Sample, classes: list[str], root: Path) -> None:
    path = PurePosixPath(sample.path)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{root}/manifest.csv: path {sample.path!r} leaves the dataset; prepare it again")
    if sample.label not in classes:
        raise DataError(f"{root}/manifest.csv: {sample.path} has the unknown label {sample.label!r}")


def first_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first setting that differs, as `key VALUE, now VALUE`; empty where none does."""
    for key in [*here, *(key for key in there if key not in here)]:
        if there.get(key) != here.get(key):
            if key in ("listing", "data"):
                return "other images than there are now"
            return f"{key} {_plain(there.get(key))}, now {_plain(here.get(key))}"
    return ""


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(part) for part in value) or "none"
    return "none" if value is None or value == "" else str(value)
