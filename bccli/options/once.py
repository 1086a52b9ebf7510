"""Options that take one value are given once, or with the same value."""

import copy
from collections.abc import Sequence
from contextlib import suppress

import click

from bccli.recipes import spelling


def refuse_unlike(command: click.Command, args: Sequence[str]) -> None:
    """Raises click.UsageError where an option of a command has two values.

    Only the last would count, though some options make a sweep of several.
    """
    single = {
        str(param.name): param
        for param in command.params
        if isinstance(param, click.Option) and not (param.multiple or param.is_flag or param.count)
    }
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
