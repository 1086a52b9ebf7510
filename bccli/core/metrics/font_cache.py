"""Where matplotlib keeps its list of fonts when the home folder cannot be written, as on compute nodes."""

import logging
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path


def ensure_cache() -> None:
    """Before its first import, give matplotlib a folder that can be written; else it says that it has none.

    One for all processes of a user, so that fonts are looked for once. That it takes a while is not said,
    and neither is which glyphs a font lacks.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # A class's name in a script that the font lacks is drawn as boxes, which says it by itself.
    warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support", UserWarning)
    if "matplotlib" in sys.modules or os.environ.get("MPLCONFIGDIR") or all(map(_is_usable, _defaults())):
        return
    shared = Path(tempfile.gettempdir(), f"bccli-matplotlib-{os.getuid()}")
    os.environ["MPLCONFIGDIR"] = str(shared if _is_ours(shared) else tempfile.mkdtemp(prefix="matplotlib-"))


def _defaults() -> tuple[Path, ...]:
    """Matplotlib's own folders of settings and of what it keeps."""
    home = os.path.expanduser("~")
    pairs = ("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")
    return tuple(Path(os.environ.get(name) or Path(home, hidden), "matplotlib") for name, hidden in pairs)


def _is_usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _is_ours(folder: Path) -> bool:
    """Whether the folder is there, or could be made, and nobody else may write in it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
