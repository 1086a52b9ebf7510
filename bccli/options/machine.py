"""How a training uses the machine, beside its device."""

import click

deterministic = click.option(
    "--deterministic/--no-deterministic",
    default=True,
    show_default=True,
    help="The same run again gives the same numbers, on equal machines to the byte; without, a GPU may be "
    "faster.",
)
