"""Classify breast-cancer images (histology slides and mammograms) from the command line.

In Python, `bccli.load(run)` has `predict(paths)` and `evaluate(data)`, and `bccli.read(data)` the rows of a
prepared dataset; all three give pandas frames.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bccli.notebook import load, read

__version__ = "0.1.0"
__all__ = ["__version__", "load", "read"]


def __getattr__(name: str) -> Any:
    """`load` and `read` when somebody asks for them: the program starts without what they import."""
    if name not in ("load", "read"):
        raise AttributeError(f"module 'bccli' has no attribute {name!r}")
    from bccli import notebook

    return getattr(notebook, name)
