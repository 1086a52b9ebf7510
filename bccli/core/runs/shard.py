"""A share of a work that several processes do at once, on one machine or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True)
class Shard:
    """The `number`th of `count` shares, from 1 on."""

    number: int = 1
    count: int = 1

    def has(self, chunk: int) -> bool:
        """Whether a chunk, by its number from 0 on, belongs to this share."""
        return chunk % self.count == self.number - 1

    def own_first(self, parts: Sequence[Part]) -> list[Part]:
        """All parts, those of this share first and the others as the next shares have them.

        >>> Shard(2, 3).own_first("abcde")
        ['b', 'e', 'c', 'a', 'd']
        """
        first = self.number - 1
        return [
            part for turn in range(self.count) for part in parts[(first + turn) % self.count :: self.count]
        ]

    @property
    def in_names(self) -> str:
        """As names of files have it, such as `2-of-8`."""
        return f"{self.number}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard()
