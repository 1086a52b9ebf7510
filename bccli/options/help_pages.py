"""How the pages of `--help` are set: as wide as is good to read, and choices broken where they end."""

from collections.abc import Iterable

import click

WIDTH = 100
"""Cells of the widest line, as in the guide's pages of options."""

_INDENT = 2
_CUT = "|"


class HelpFormatter(click.HelpFormatter):
    """As click's, but a list of choices that is longer than a line is broken behind a choice."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean; names with more cells than a line take several."""
        room = self.width - self.current_indent
        super().write_dl([(_broken(name, room), text) for name, text in rows], col_max, col_spacing)


def _broken(name: str, room: int) -> str:
    """A name with its choices, on lines of at most `room` cells where there are places to break it.

    >>> print(_broken("--head [gap|blocks|two-views]", 22))
    --head [gap|blocks|
          two-views]
    """
    lines = [""]
    for number, part in enumerate(parts := name.split(_CUT)):
        piece = part + _CUT * (number < len(parts) - 1)
        if lines[-1] and len(lines[-1]) + len(piece) > room:
            lines.append(" " * 3 * _INDENT)
        lines[-1] += piece
    return "\n".join(lines)


class HelpContext(click.Context):
    """The context of a command whose help is set so."""

    formatter_class = HelpFormatter
