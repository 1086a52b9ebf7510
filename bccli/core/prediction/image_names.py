"""The names of many images, in little more memory than their letters take."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

_AT_ONCE = 1000


class ImageNames:
    """Names in their order, of which any stretch can be had again.

    >>> ImageNames(["a.png", "b.png", "c.png"]).between(1, 3)
    ['b.png', 'c.png']
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._text, self._ends = bytearray(), array("Q", [0])
        for name in names:
            self._text += name.encode("utf-8", "surrogateescape") + b"\0"
            self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self.between(first, first + _AT_ONCE)

    def between(self, first: int, end: int) -> list[str]:
        """The names from `first` on, to `end` at most, which is not among them."""
        text = self._text[self._ends[first] : self._ends[min(end, len(self))]]
        return [name.decode("utf-8", "surrogateescape") for name in text.split(b"\0")[:-1]]

    def facts(self) -> dict[str, Any]:
        """How many there are, and a hash of them in their order."""
        return {"count": len(self), "sha256": hashlib.sha256(self._text).hexdigest()}
