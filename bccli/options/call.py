"""The words of the command that is running, as somebody may type them again."""

from collections.abc import Iterator
from typing import Any

import click
from click.core import ParameterSource


def words_of_call() -> tuple[str, ...]:
    """`bccli`, the command, its arguments and the options that were given on the command line."""
    context = click.get_current_context()
    given = [
        (param, context.params[param.name])
        for param in context.command.params
        if param.name in context.params
        and context.get_parameter_source(param.name) == ParameterSource.COMMANDLINE
    ]
    arguments = [
        word for param, value in given if isinstance(param, click.Argument) for word in _words(value)
    ]
    options = [
        word for param, value in given if isinstance(param, click.Option) for word in _option(param, value)
    ]
    return ("bccli", context.info_name or "", *arguments, *options)


def _option(param: click.Option, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield (param.opts if value else param.secondary_opts)[0]
    elif param.multiple:
        for one in value:
            yield from (param.opts[0], *_words(one))
    else:
        yield from (param.opts[0], ",".join(_words(value)))


def _words(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one).removeprefix("fixed=") for one in values]
