"""The folder that `evaluate --output` writes into: which files of it are evaluate's own."""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.errors import DataError
from bccli.core.reading.texts import read_json

_FIGURES = "figures.json"
_WRITTEN = re.compile(
    r"figures\.(?:json|csv|md|tex)|checklist\.(?:csv|md)|predictions\.csv|suspects\.csv|shortcuts\.csv"
    r"|(?:confusion(?:_.+)?|roc|precision_recall|calibration|beta|triage|froc)\.(?:png|svg)"
)
"""Names of the files that evaluate writes, in the folder or in one with a number below it."""
_AUDIT = "audit.csv"
_MARKERS = ("dataset.json", "run.json")


def foreign_figures(folder: Path) -> Path | None:
    """A file that evaluate would overwrite and has not written; None where there is none.

    What its figures.json vouches for is its own: that is written first.
    """
    if _is_ours(folder / _FIGURES):
        return None
    return next(iter(sorted(path for path in _files(folder) if _WRITTEN.fullmatch(path.name))), None)


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "[0-9][0-9]*/*"):
        yield from (path for path in folder.glob(pattern) if path.is_file() or path.is_symlink())


def _is_ours(path: Path) -> bool:
    """Whether a JSON file has the figures of runs in it."""
    try:
        found = read_json(path)
    except (OSError, DataError):
        return False
    runs = found.get("runs") if isinstance(found, dict) else None
    entries = runs if isinstance(runs, list) else []
    return bool(entries) and all(isinstance(run, dict) and "confusion_matrix" in run for run in entries)


def foreign_audit(folder: Path) -> Path | None:
    """audit.csv in a folder, where it is another program's, or belongs to a prepared dataset or a run."""
    from bccli.core.data.audit_pairs import COLUMNS

    path = folder / _AUDIT
    if not path.exists():
        return None
    owned = any((folder / marker).exists() for marker in _MARKERS)
    with path.open("rb") as stream:
        ours = stream.readline().strip() == ",".join(COLUMNS).encode()
    return path if owned or not ours else None
