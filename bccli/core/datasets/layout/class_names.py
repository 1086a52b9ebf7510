"""Names of classes as people type them."""

import re
import unicodedata
from collections.abc import Collection, Iterator

from bccli.core.data.patients import plain_number
from bccli.core.errors import DataError

_MASKS = re.compile(
    r"masks?|gts?|groundtruths?|seg(?:s|mentations?|mented)?|annotations?|annotated|overlays?|rois?|labels?"
    r"|contours?|outlines?"
)


class DistinctNames:
    """Names of classes, each with where it was met first, none too much like another."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[str, str]] = {}
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the very name was met before."""
        return name in self._known

    def add(self, name: str, where: str) -> None:
        """Take up a name.

        Raises DataError where a name that was met before differs from it in capitals, spaces (or `_`),
        characters that nobody sees, Unicode form or the writing of a number only.
        """
        self._known.add(name)
        other, there = self._met.setdefault(_essence(name), (name, where))
        if other != name:
            raise DataError(
                f"the classes {_named(other)} ({there}) and {_named(name)} ({where}) differ in capitals, "
                "spaces or the encoding of their letters only; give both the same name"
            )


def _essence(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(character for character in folded if unicodedata.category(character) != "Cf")
    return plain_number(re.sub(r"[\s_]+", "", visible) or name)


def _named(name: str) -> str:
    """A name in quotes; with its code points where the eye would not tell it from its like."""
    return ascii(name) if unicodedata.normalize("NFC", name) != name else repr(name)


def is_for_masks(name: str) -> bool:
    """Whether a folder is called by a word for masks or overlays, such as `masks`, `GT` or `_overlay`."""
    return bool(_MASKS.fullmatch(_letters(name)))


def masks_among(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that is another one and a word for masks, such as `benign_mask`, with that other."""
    known = {_letters(name): name for name in names}
    for name in names:
        text = _letters(name)
        halves = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        for other, word in [*halves, *((word, other) for other, word in halves)]:
            if other in known and _MASKS.fullmatch(word):
                yield name, known[other]
                break


def _letters(name: str) -> str:
    """A name's letters and digits, small."""
    return re.sub(r"[\W_]+", "", name.casefold())
