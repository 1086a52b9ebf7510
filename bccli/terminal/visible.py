"""Text for people's eyes: what would steer a terminal, or turn a line around, is shown and not obeyed.

Names of classes, files and layers, and messages of libraries, may hold anything. CSV and JSON keep them as
they are.
"""

import codecs

from bccli.core.reading.limits import MESSAGE

SPELLED = "bccli-spelled"
"""How a stream whose encoding lacks a character writes it: codecs' name for `_spell`."""

_WORDS = {
    "α": "alpha", "β": "beta", "γ": "gamma", "κ": "kappa", "λ": "lambda", "π": "pi", "χ": "chi", "Σ": "sum",
    "×": "x", "…": "...", "–": "-", "−": "-", "·": "*", "→": "->", "²": "^2", "≥": ">=", "≤": "<=", "≠": "!=",
    "±": "+-", "°": " degrees", "½": "1/2", "—": "-", "’": "'", "‖": "||",
}  # fmt: skip


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


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """The characters that an encoding lacks, in words where bccli itself writes them, else escaped.

    A byte of a file name that is not UTF-8 stays that byte.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return bytes([ord(char) - 0xDC00]), error.start + 1
    return _WORDS.get(char) or _escaped(char), error.start + 1


codecs.register_error(SPELLED, _spell)


def spelled(text: str, encoding: str) -> str:
    r"""A visible text in characters that an encoding has.

    >>> spelled("κ ≥ 0.5 of Präparat", "ascii")
    'kappa >= 0.5 of Pr\\xe4parat'
    """
    return text if text.isascii() else text.encode(encoding, SPELLED).decode(encoding, "surrogateescape")
