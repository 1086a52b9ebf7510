"""Names as pictures can show them."""

import re
import textwrap
from collections.abc import Iterator

_LOWEST, _HIGHEST = 0xDC80, 0xDCFF
"""How Python keeps the bytes of a name that are not UTF-8."""
_UNKNOWN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML, and so an SVG, cannot have in it: control characters and halves of letters."""


def drawable(text: str) -> str:
    """The text with each byte that is not UTF-8 as the letter of Latin-1, as such names nearly always are.

    What no file of a picture can hold, such as control characters, is U+FFFD, a question mark in a lozenge.

    >>> drawable("gut\\udce4rtig")
    'gutärtig'
    """
    if text.isascii() and text.isprintable():
        return text
    known = "".join(
        chr(ord(letter) - 0xDC00) if _LOWEST <= ord(letter) <= _HIGHEST else letter for letter in text
    )
    return _UNKNOWN.sub("\ufffd", known)


_SEAM = re.compile(r"(?<=[_\-/])|(?<=[a-z])(?=[A-Z])")
"""Where a word may be broken that is longer than a line."""


def lines_of(text: str, width: int) -> list[str]:
    """Text in lines of at most `width` characters; words that are longer are broken at their seams, if any.

    >>> lines_of("an invasive_ductal_carcinoma", 16)
    ['an', 'invasive_ductal_', 'carcinoma']
    """
    words = (word if len(word) <= width else " ".join(_parts(word, width)) for word in text.split())
    return textwrap.wrap(" ".join(words), width)


def _parts(word: str, width: int) -> Iterator[str]:
    """Parts of a long word, as long as lines may be."""
    part = ""
    for piece in _SEAM.split(word):
        if part and len(part) + len(piece) > width:
            yield part
            part = ""
        part += piece
    yield part
