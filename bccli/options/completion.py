"""What a shell offers behind an option whose values have names: these, and files where it takes any."""

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completed = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_FILES = Path(__file__).parent.parent


def backbones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The networks, the sets of them, and cards."""
    from bccli.core.catalog import BACKBONES, SETS

    return _names((*BACKBONES, *SETS), incomplete)


def recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The built-in recipes, and files."""
    return _names(_in_folder("recipes"), incomplete)


def policies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The built-in policies, and files."""
    return _names(_in_folder("policies"), incomplete)


def tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks of the dataset that the line names; of all where it names none yet."""
    from bccli.core.catalog import DATASETS

    # click leaves the arguments in `args` where the option that is completed has no value yet
    said = (str(ctx.params.get("dataset")), *ctx.args)
    rows = [DATASETS[name] for name in said if name in DATASETS][:1] or DATASETS.values()
    return _names((task.name for row in rows for task in row.tasks), incomplete, files=False)


def trees(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The trees of the datasets, and files."""
    from bccli.core.catalog import DATASETS

    texts = [task.tree for row in DATASETS.values() for task in row.tasks if task.tree]
    # zsh and fish quote by themselves what they insert
    quoted = os.environ.get("_BCCLI_COMPLETE", "").startswith("bash")
    found = dict.fromkeys(text for text in texts if text.startswith(incomplete))
    items = [CompletionItem(shlex.quote(text) if quoted else text) for text in found]
    return [*items, CompletionItem(incomplete, type="file")]


def _in_folder(name: str) -> list[str]:
    return sorted(path.stem for path in (_FILES / name).glob("*.toml"))


def _names(known: Iterable[str], incomplete: str, *, files: bool = True) -> list[CompletionItem]:
    """The known names that begin so; with `files`, a file where none does."""
    found = [CompletionItem(name) for name in dict.fromkeys(known) if name.startswith(incomplete)]
    return found if found or not files else [CompletionItem(incomplete, type="file")]
