"""How a command shares folders with other processes: how long it waits for them, and what it reads."""

from pathlib import Path
from typing import Any

import click

from bccli.options.common import Decorator
from bccli.options.value_types import FiniteType
from bccli.terminal.console import Console


def waiting(whom: str) -> Decorator[Any]:
    """`--wait`, for whoever works at what a command needs."""
    return click.option(
        "--wait",
        type=FiniteType(0),
        metavar="MINUTES",
        default=0,
        show_default=True,
        help=f"Wait so long for another process that {whom}.",
    )


wait = waiting("works in RUN, or that makes DATA")


def share(screen: Console, settings: dict[str, Any], *read: Path | None) -> None:
    """To the end of the command, wait for others as --wait says, and let nobody replace datasets that are
    read."""
    from bccli.core.runs.locks import patient, reading

    context = click.get_current_context()
    context.with_resource(patient(settings.get("wait", 0), screen))
    for dataset in read:
        if dataset is not None:
            context.with_resource(reading(dataset))
