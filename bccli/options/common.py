"""The options that commands share, each declared once."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from bccli.core.errors import UsageError
from bccli.options import completion
from bccli.options.value_types import ShardType
from bccli.terminal.console import FORMATS

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


recipe = click.option(
    "--recipe",
    metavar="NAME|FILE[:STAGE]",
    shell_complete=completion.recipes,
    help="Take defaults from a recipe; options given here win.",
)
protocol = click.option(
    "--protocol",
    type=click.Choice(["honest", "paper"]),
    default="honest",
    show_default=True,
    help="honest: whole patients in one split; paper: what the paper did.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Start of all random draws.",
)
seeds = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=None,
    help="Train with so many seeds, from --seed on: a sweep with means and deviations.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    show_default="the cores at hand",
    help="How many processes or threads read images.",
)
shard = click.option(
    "--shard",
    type=ShardType(),
    metavar="I/N|auto/N",
    default=None,
    help="Do the Ith of N shares of the work; the last to end merges. auto takes I from Slurm.",
)
skip_bad = click.option(
    "--skip-bad/--no-skip-bad", help="Exit with 0 although some inputs could not be read."
)
dry_run = click.option("--dry-run/--no-dry-run", help="Show what would be done, and write nothing.")
overwrite = click.option("--overwrite/--no-overwrite", help="Replace a finished folder that bccli made.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where to compute; gpu fails where there is none.",
)


def output_format(*more: str) -> Decorator[Any]:
    """`--format`, with the formats that only some commands know."""
    return click.option(
        "--format",
        type=click.Choice([*FORMATS, *more]),
        default="auto",
        show_default=True,
        help="auto is a table on a terminal and CSV in a pipe.",
    )


def refuse_overwriting_shards(settings: Mapping[str, Any]) -> None:
    """Raises UsageError for a shard that would begin by clearing what the others have done."""
    if settings["shard"] and settings["overwrite"]:
        raise UsageError(
            "--shard: a shard that starts late would undo the others with --overwrite; remove what is there"
        )


def info_flag(name: str, show: Callable[[], None], help: str) -> Decorator[Any]:
    """A flag that prints a table and ends the command before its arguments are asked for."""

    def print_and_end(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            show()
            ctx.exit()

    return click.option(
        name, is_flag=True, is_eager=True, expose_value=False, callback=print_and_end, help=help
    )
