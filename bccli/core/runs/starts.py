"""Starts of work that ended before anything of theirs was stored: more time is needed, not more starts.

A batch job whose slices are too short would be put into the queue again and again for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bccli.core.errors import NoProgressError, Stopped
from bccli.core.files import write_text
from bccli.core.interruption import STOPPED

_MOST = 2
"""So many starts in a row may store nothing."""


class _State:
    file: Path | None = None
    progressed = False


@contextmanager
def counted(file: Path, what: Path) -> Iterator[None]:
    """Count in `file` the starts of work on `what`, until something is stored or it ends by itself.

    Inside another such block nothing is counted. Where a second start stores nothing before a batch system
    stops it, Stopped has another sentence and exit code 3; one more start after two that were killed raises
    NoProgressError. Then the count begins anew.
    """
    if _State.file is not None:
        yield
        return
    before = _read(file)
    if before >= _MOST:
        file.unlink()
        raise NoProgressError(_sentence(what))
    write_text(file, f"{before + 1}\n")
    _State.file, _State.progressed = file, False
    try:
        yield
    except Stopped as stopped:
        counts = stopped.exit_code == STOPPED and file.exists()
        if counts and before + 1 < _MOST:
            raise
        file.unlink(missing_ok=True)
        raise Stopped(_sentence(what), NoProgressError.exit_code) if counts else stopped from None
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    finally:
        _State.file = None
    file.unlink(missing_ok=True)


def progressed() -> None:
    """Something is stored that the next start will not have to do again."""
    if _State.file is not None and not _State.progressed:
        with suppress(OSError):
            _State.file.unlink(missing_ok=True)
            _State.progressed = True


def _read(file: Path) -> int:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _sentence(what: Path) -> str:
    return f"{what}: no progress in two starts; ask for more time"
