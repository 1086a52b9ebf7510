"""Text for people's eyes: what would steer a terminal, or turn a line around, is shown and not obeyed.

Names of classes, files and layers, and messages of libraries, may hold anything. CSV and JSON keep them as
they are.
"""

from bccli.core.reading.limits import MESSAGE


def visible(text: str, keep: str = "") -> str:
    r"""A text with control characters, marks that change its direction and stray bytes written out.

    So are blanks and joiners that nobody can see; `keep` are characters that stay.

    >>> visible("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    """A character as Python writes it; a byte that was not UTF-8 as that byte."""
    byte = ord(char) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()


def message(text: str) -> str:
    """A message in one visible line; one that is too long loses its middle."""
    if len(text) > MESSAGE:
        half = MESSAGE // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    shown = visible(text)
    return shown if len(shown) <= MESSAGE else message(shown)
