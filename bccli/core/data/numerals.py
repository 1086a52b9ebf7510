"""Numbers as tables write them, and nothing else that Python would take for one."""

import re

_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


def real(text: str) -> float:
    """A number in the digits 0 to 9. Raises ValueError for `1_000`, `infinity`, `nan` and other digits.

    >>> real(" 2.5e-1 ")
    0.25
    """
    if not _REAL.fullmatch(bare := text.strip()):
        raise ValueError(f"{text!r} is no number")
    return float(bare)


def whole(text: str) -> int:
    """A whole number in the digits 0 to 9. Raises ValueError for anything else.

    >>> whole("007")
    7
    """
    if not _WHOLE.fullmatch(bare := text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(bare)
