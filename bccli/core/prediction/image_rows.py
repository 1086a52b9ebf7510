"""The rows of predictions that an image has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ImageRows:
    """The rows of an image: one, or one for each patch; `remark` says what is odd about it.

    `size` is that of its file in bytes, by which most changed files are noticed; -1 where there is none.
    """

    path: str
    rows: tuple[Row, ...]
    remark: str = ""
    size: int = -1

    def to_line(self) -> str:
        """As FILE.part has it."""
        return json.dumps([self.path, self.size, self.remark, self.rows]) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "ImageRows":
        """Read what `to_line` wrote. Raises ValueError for anything else, such as half a line."""
        if not line.endswith("\n"):
            raise ValueError(line)
        path, size, remark, rows = json.loads(line)
        return cls(path, tuple(rows), remark, size)
