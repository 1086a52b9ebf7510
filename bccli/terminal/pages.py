"""HTML pages that are one file: no script, no network, and whatever a name holds stays text."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bccli import __version__
from bccli.terminal.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parents[1] / "pages"


def page(template: str, *, kind: str, **values: Any) -> str:
    """A page as text; its head names bccli and what `kind` of page it is."""
    return environment().get_template(template).render(version=__version__, kind=kind, **values)


@cache
def environment() -> "Environment":
    """Where templates are found; each text in one is escaped, steers no more than on a terminal, and is not
    endless."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """A text with what would turn its line around written out, and its middle left out where it is very long;
    markup as it is, nothing for None."""
    if value is None:
        return ""
    if type(value) is not str:
        return value
    if len(value) > _LONGEST:
        value = f"{value[: _LONGEST // 2]} … {value[-_LONGEST // 2 :]}"
    return visible(value)


_LONGEST = 2000


def is_page(path: Path, kind: str) -> bool:
    """Whether a file begins as pages of this `kind` by any version of bccli do."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(_HEAD).decode("utf-8", "replace")
    before, _, after = head.partition('<meta name="generator" content="bccli ')
    return before.startswith("<!doctype html>") and after.partition('"')[0].endswith(f" {kind}")


_HEAD = 1024
