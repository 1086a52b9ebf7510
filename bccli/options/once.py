"""Options of one value that look as if several made a sweep, as their neighbours do, are given once."""

import copy
from collections.abc import Sequence
from contextlib import suppress

import click

from bccli.recipes import spelling

_LIKE_A_SWEEP = {"finetune": {"blocks"}}
"""Beside --from-layer, of which several do. Of all other options the last one counts, as scripts expect."""


def refuse_unlike(command: click.Command, args: Sequence[str]) -> None:
    """Raises click.UsageError where such an option of a command has two values, of which the last would
    count."""
    names = _LIKE_A_SWEEP.get(str(command.name), set())
    single = {
        str(param.name): param
        for param in command.params
        if isinstance(param, click.Option) and param.name in names
    }
    if not single:
        return
    given: dict[str, list[object]] = {}
    listing = click.Command(command.name, params=[_listing(param, single) for param in command.params])
    with suppress(click.UsageError):  # the command itself says what else is wrong
        given = listing.make_parser(click.Context(command)).parse_args(args=list(args))[0]
    for name in single.keys() & given.keys():
        first, *others = given[name]
        if other := next((each for each in others if each != first), None):
            option = spelling(single[name])
            raise click.UsageError(f"--{option}: is given twice, {first} and {other}; name one")


def _listing(param: click.Parameter, single: dict[str, click.Option]) -> click.Parameter:
    """The same parameter; an option of one value as one that keeps all of them."""
    if param.name not in single:
        return param
    several = copy.copy(param)
    several.multiple = True
    return several
