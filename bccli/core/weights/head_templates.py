"""A network's file, into which the weights of another head are put: where they lie in its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HeadTemplate:
    """The bytes of a network's file, and the slices of them in which the weights of its head lie."""

    content: bytes
    slices: tuple[slice, ...]

    def with_head(self, stored: Sequence[bytes]) -> bytes:
        """The file of the network with another head: the bytes of its weights, of the same lengths."""
        content = bytearray(self.content)
        for where, weight in zip(self.slices, stored, strict=True):
            content[where] = weight
        return bytes(content)


def find_head(content: bytes, stored: Sequence[bytes]) -> HeadTemplate | None:
    """The template of a file with these weights; None where it is not clear where they lie, such as where
    whoever wrote the file made others of them."""
    slices: dict[int, int] = {}
    for weight in stored:
        start = content.find(weight)
        if start < 0 or start in slices or content.find(weight, start + 1) >= 0:
            return None
        slices[start] = start + len(weight)
    return HeadTemplate(content, tuple(slice(start, end) for start, end in slices.items()))
