"""Keras models to files: complete or not at all, and equal models to equal bytes."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

from bccli.core.files import naming, replacing
from bccli.core.weights.head_templates import HeadTemplate, find_head
from bccli.core.weights.keras_files import WEIGHTS_MEMBER

_METADATA, _CONFIG = "metadata.json", "config.json"
_SHARED = "shared_object_id"
_NO_DATE = "1980-01-01@00:00:00"
"""What a file says in place of when it was saved: the date of a zip member that has none."""
_KEPT = 1 << 26
"""So many bytes of a file may be kept in memory."""


def save_model(model: Any, path: Path) -> None:
    """Replace `path`, a .keras file, by a model, without the dates and addresses that Keras writes into it.

    Keras puts it, and what it needs for that, into the system's folder for temporary files first.
    """
    with tempfile.TemporaryDirectory(prefix="bccli-") as folder:
        file = Path(folder, path.name)
        with naming(file):
            model.save(file)
        with replacing(path) as stream:
            _copy_without_chance(file, stream)


def _copy_without_chance(file: Path, stream: IO[bytes]) -> None:
    with ZipFile(file) as archive, ZipFile(stream, "w") as copy:
        for member in archive.infolist():
            with archive.open(member) as content, copy.open(_undated(member), "w") as target:
                if member.filename == _METADATA:
                    target.write(json.dumps({**json.load(content), "date_saved": _NO_DATE}).encode())
                elif member.filename == _CONFIG:
                    target.write(_renumbered(content.read().decode()).encode())
                else:
                    shutil.copyfileobj(content, target, 1 << 20)


def _undated(member: ZipInfo) -> ZipInfo:
    undated = ZipInfo(member.filename)
    undated.compress_type, undated.file_size = member.compress_type, member.file_size
    return undated


class HeadSaver:
    """Saves a Keras model again and again, of which only the weights of its head change in between.

    Keras writes the first file, which takes a third of a second and more; the others are that one with other
    weights, the same bytes that Keras would write. A file that is too large to be kept in memory, or in which
    the weights are not found, is written by Keras each time.
    """

    def __init__(self) -> None:
        self._members: list[tuple[ZipInfo, bytes]] = []
        self._weights: HeadTemplate | None = None

    def save(self, model: Any, head: Any, path: Path) -> None:
        """Replace `path`, a .keras file, by a model that has this head."""
        stored = [weight.tobytes() for weight in head.get_weights()]
        if self._weights is None:
            save_model(model, path)
            if path.stat().st_size <= _KEPT:
                self._learn(path, stored)
            return
        with replacing(path) as stream, ZipFile(stream, "w") as archive:
            for member, content in self._members:
                is_head = member.filename == WEIGHTS_MEMBER
                with archive.open(_undated(member), "w") as target:
                    target.write(self._weights.with_head(stored) if is_head else content)

    def _learn(self, path: Path, stored: list[bytes]) -> None:
        with ZipFile(path) as archive:
            self._weights = find_head(archive.read(WEIGHTS_MEMBER), stored)
            others = (member for member in archive.infolist() if self._weights)
            self._members = [
                (one, b"" if one.filename == WEIGHTS_MEMBER else archive.read(one)) for one in others
            ]


def _renumbered(config: str) -> str:
    """A model's configuration with its shared objects numbered in their order, where Keras has addresses.

    Which layers share a policy, such as float32, depends on whether they have been on a disk before.
    """
    numbers: dict[int, int] = {}

    def settled(entry: dict[str, Any]) -> dict[str, Any]:
        if entry.get("class_name") == "DTypePolicy":
            entry.pop(_SHARED, None)
        elif _SHARED in entry:
            entry[_SHARED] = numbers.setdefault(entry[_SHARED], len(numbers) + 1)
        return entry

    return json.dumps(json.loads(config, object_hook=settled))
