"""Names as pictures can show them."""

_LOWEST, _HIGHEST = 0xDC80, 0xDCFF
"""How Python keeps the bytes of a name that are not UTF-8."""


def drawable(text: str) -> str:
    """The text with each byte that is not UTF-8 as the letter of Latin-1, as such names nearly always are.

    >>> drawable("gut\\udce4rtig")
    'gutärtig'
    """
    if text.isascii():
        return text
    return "".join(
        chr(ord(letter) - 0xDC00) if _LOWEST <= ord(letter) <= _HIGHEST else letter for letter in text
    )
