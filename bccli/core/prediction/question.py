"""What is asked of runs when images are labelled, by which answers in files are known again."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core.data.dataset import first_difference
from bccli.core.files import file_hash
from bccli.core.runs.run_folder import RUN_FILE


@dataclass(frozen=True)
class Question:
    """What rows depend on besides their images: the content of the runs, and options by their names."""

    runs: tuple[str, ...]
    options: Mapping[str, Any]

    @classmethod
    def about(cls, roots: Iterable[Path], **options: Any) -> "Question":
        """The question to some runs, which may lie in any place."""
        return cls(tuple(map(_hash_of_run, roots)), options)

    def to_json(self) -> dict[str, Any]:
        """As files have it."""
        return {"runs": list(self.runs), "options": dict(self.options)}

    def differs_from(self, other: Mapping[str, Any]) -> str:
        """In what it differs from one of a file, in words; empty where it is the same."""
        if other.get("runs") != list(self.runs):
            return "another run, or one that has changed since"
        return first_difference(other.get("options", {}), dict(self.options))


def _hash_of_run(root: Path) -> str:
    """What a run and its members say of themselves, in which the hash of each of their files is."""
    inner = sorted(root.glob(f"*/{RUN_FILE}"))
    return hashlib.sha256("".join(map(file_hash, [root / RUN_FILE, *inner])).encode()).hexdigest()
