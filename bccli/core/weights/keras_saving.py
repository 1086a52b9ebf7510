"""Keras models to files: complete or not at all, and equal models to equal bytes."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

from bccli.core.files import naming, replacing

_METADATA, _CONFIG = "metadata.json", "config.json"
_SHARED = "shared_object_id"
_NO_DATE = "1980-01-01@00:00:00"
"""What a file says in place of when it was saved: the date of a zip member that has none."""


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
            undated = ZipInfo(member.filename)
            undated.compress_type, undated.file_size = member.compress_type, member.file_size
            with archive.open(member) as content, copy.open(undated, "w") as target:
                if member.filename == _METADATA:
                    target.write(json.dumps({**json.load(content), "date_saved": _NO_DATE}).encode())
                elif member.filename == _CONFIG:
                    target.write(_renumbered(content.read().decode()).encode())
                else:
                    shutil.copyfileobj(content, target, 1 << 20)


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
