"""Turns for large images: threads that decode and prepare images do so with one large image at a time.

Two at the limit at once would take twice the memory; small ones go on beside it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 2**25
"""Pixels from which on an image waits for its turn: as many as the largest mammograms have."""

_turn = threading.Lock()
_mine = threading.local()


@contextmanager
def one_large_at_a_time() -> Iterator[None]:
    """Within it, this thread waits before it decodes a large image while another one has such an image."""
    _mine.waits, _mine.has_turn = True, False
    try:
        yield
    finally:
        _mine.waits = False
        if _mine.has_turn:
            _mine.has_turn = False
            _turn.release()


def take_turn(pixels: int) -> None:
    """Wait for the turn of an image of so many pixels that this thread is about to decode."""
    if pixels > LARGE and getattr(_mine, "waits", False) and not _mine.has_turn:
        _turn.acquire()
        _mine.has_turn = True
