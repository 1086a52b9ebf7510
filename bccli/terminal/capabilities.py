"""What a terminal, a pipe or a file can show of a line of text: its width, its characters, its colours."""

import os
import textwrap
from functools import cache
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from bccli.terminal.visible import spelled, visible

Colour = tuple[str, str]  # as #RRGGBB, and its name where a terminal has only 16 colours


class Terminal:
    """What a stream can show: how many cells a line has, which characters and which colours."""

    def __init__(self, stream: IO[str]) -> None:
        terminal = Console(file=stream)
        self.width = max(terminal.width, 30)  # what is narrower wraps
        self._encoding = terminal.encoding
        dumb = stream.isatty() and terminal.is_dumb_terminal
        self._system = None
        if stream.isatty() and not os.environ.get("NO_COLOR"):
            self._system = terminal.color_system
        if dumb or self.text("…─█▏") != "…─█▏":
            self.ellipsis, self.rule, self._eighths = "...", "-", "#"
        else:
            self.ellipsis, self.rule, self._eighths = "…", "─", "▏▎▍▌▋▊▉█"

    def text(self, value: object) -> str:
        """A value on one line in characters that the stream can show; others are spelled or escaped."""
        return spelled(visible(str(value)), self._encoding)

    def start(self, text: str, room: int) -> str:
        """The text in exactly `room` cells; what is too long loses its end."""
        if cell_len(text) <= room:
            return padded(text, room)
        return set_cell_size(text, room - len(self.ellipsis)) + self.ellipsis

    def end(self, text: str, room: int) -> str:
        """The text in exactly `room` cells; what is too long loses its start."""
        if cell_len(text) <= room:
            return padded(text, room)
        room -= len(self.ellipsis)
        shown = text[-room:]
        while shown and (cell_len(shown) > room or not cell_len(shown[0])):  # no accent without its letter
            shown = shown[1:]
        return self.ellipsis + padded(shown, room)

    def painted(self, text: str, colour: Colour) -> str:
        """The text in the colour for many or for 16 colours, or as it is."""
        if self._system is None:
            return text
        return _style(colour[self._system == "standard"]).render(
            text, color_system=COLOR_SYSTEMS[self._system]
        )

    def bar(self, share: float, cells: int) -> str:
        """A bar of `share` of the cells, in eighths of a cell where the stream has such characters."""
        steps = len(self._eighths)
        full, eighths = divmod(round(min(1.0, max(0.0, share)) * cells * steps), steps)
        return self._eighths[-1] * full + (self._eighths[eighths - 1] if eighths else "")


@cache
def _style(name: str) -> Style:
    return Style(color=name)


def padded(text: str, room: int) -> str:
    """The text and what is missing to `room` cells."""
    return text + " " * (room - cell_len(text))


def wrapped(line: str, width: int) -> str:
    """A line that is too long on several ones, broken between words; a longer word stays whole."""
    if cell_len(line) <= width:
        return line
    return textwrap.fill(
        line,
        width,
        subsequent_indent="    " if line.startswith(" ") else "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
