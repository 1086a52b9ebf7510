"""Keeping what libraries written in C++ say at their start off the screen."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bccli.core.interruption import stop_requested


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what is written to stderr off the screen; show it if the block fails, unless a signal ended it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            if not stop_requested():
                buffer.seek(0)
                os.write(2, buffer.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
