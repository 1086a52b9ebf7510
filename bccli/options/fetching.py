"""`--fetch-weights`, which takes the place of a training's arguments."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bccli.core.errors import UsageError
from bccli.options import given_vectors, path_types
from bccli.terminal import console

fetch_weights = click.option(
    "--fetch-weights/--no-fetch-weights",
    help="Without DATA and RUN: fetch the ImageNet weights of each --backbone into Keras's cache, and end. "
    "Nothing else ever asks a network.",
)


def unless_fetching(name: str) -> Any:
    """A path argument that is needed unless --fetch-weights is given; see `or_fetch`."""
    return click.argument(name, type=path_types.existing(), required=False, metavar=name.upper())


def or_fetch(command: Callable[..., int]) -> Callable[..., int]:
    """Call a command with its arguments or, with --fetch-weights and none of them, fetch; with
    --features-only and DATA alone, write vectors.

    Raises UsageError for arguments that are too few or too many.
    """

    @wraps(command)
    def called(
        screen: console.Console, *, fetch_weights: bool, features_only: Path | None = None, **settings: Any
    ) -> int:
        context = click.get_current_context()
        arguments = [param for param in context.command.params if isinstance(param, click.Argument)]
        missing = [param for param in arguments if settings[str(param.name)] is None]
        if fetch_weights:
            if missing != arguments:
                raise UsageError("--fetch-weights fetches and ends; leave DATA and RUN out")
            _fetch(screen, settings["backbones"])
            return 0
        if features_only and settings["data"] and settings["run"]:
            raise UsageError("--features-only writes vectors and ends; leave RUN out")
        if features_only and settings["data"]:
            return given_vectors.write_features(screen, settings.pop("data"), features_only, settings)
        if missing:
            raise click.MissingParameter(ctx=context, param=missing[0])
        return command(screen, **settings)

    return called


def _fetch(screen: console.Console, names: Sequence[str]) -> None:
    from bccli.core.catalog import find_backbone
    from bccli.core.sweeps.grid import expand
    from bccli.core.weights.downloads import fetch_weights

    console.show_rows(fetch_weights([find_backbone(name) for name in expand(names)], screen))
