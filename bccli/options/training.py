"""The options of `train`, `finetune` and `hierarchy`, made from the table of training settings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from bccli.core.catalog import BACKBONES
from bccli.core.training.setting_types import (
    Choice,
    FileOr,
    Fold,
    Folder,
    Number,
    NumberOr,
    PolicyFile,
    Setting,
    Sizes,
    Switch,
    Target,
    Whole,
)
from bccli.core.training.settings import OF_THE_BACKBONE, SETTINGS
from bccli.options import common as options
from bccli.options import path_types, value_types
from bccli.options.machine import deterministic, devices, strategy, tf32
from bccli.options.sharing import wait
from bccli.terminal import console

FUSIONS = ("bilstm", "attention", "vote", "mean", "svm", "blocks-2x2")
CLASSIFIERS = ("dense", "svm", "forest", "logistic", "boosting", "bovw")

_FUSING = (
    " With --features-from, how the patches of an image become one answer: bilstm is a network that reads "
    "them row by row, attention one that weighs them in any order; vote and mean are rules about what RUN "
    "says of each patch; svm is a support vector machine over all their features joined, blocks-2x2 one over "
    "each 2×2 neighbours, which then vote."
)

# The click type of each kind of value.
_TYPES: Mapping[type, Callable[[Any], click.ParamType]] = {
    Choice: lambda kind: click.Choice(kind.names),
    Whole: lambda kind: click.IntRange(kind.least, kind.most),
    Number: lambda kind: value_types.FiniteType(
        kind.least, kind.most, min_open=kind.open_least, max_open=kind.open_most
    ),
    NumberOr: lambda kind: value_types.NumberOrType(kind.names, kind.least),
    Sizes: lambda kind: value_types.ListType(value_types.positive, kind.example),
    Target: lambda kind: value_types.TargetType(kind.measures),
    FileOr: lambda kind: path_types.FileOr(*kind.names),
    PolicyFile: lambda kind: path_types.policy(),
    Fold: lambda kind: value_types.FoldType(),
    Folder: lambda kind: path_types.existing(),
}


_UNCOUNTED = dict.fromkeys(("layers", "parameters_millions", "size", "smallest"))


def _list_backbones() -> None:
    from bccli.core.models.cards.card import find_card, templates
    from bccli.core.weights.pretrained import cached_file

    rows: list[dict[str, Any]] = [
        {
            "name": row.name,
            "layers": row.layers,
            "parameters_millions": round(row.parameters / 1e6, 2),
            "size": row.size,
            "smallest": row.smallest,
            "imagenet": ("here" if cached_file(row).is_file() else "to fetch") if row.weights else "none",
            "licence": row.licence,
        }
        for row in BACKBONES.values()
    ]
    cards = [find_card(name) for name in templates()]
    rows += [
        {
            "name": card.name,
            **_UNCOUNTED,
            "size": max(card.size),
            "imagenet": "no: a card",
            "licence": card.licence,
        }
        for card in cards
    ]
    console.show_rows(rows)


save_backbone = click.option(
    "--save-backbone/--no-save-backbone",
    default=False,
    help="Of a backbone that a card describes, copy its file into RUN, which then needs nothing else; its "
    "licence may forbid to pass it on.",
)


join = click.option(
    "--join/--no-join",
    default=False,
    help="Of several --backbone, put the features of an image side by side, for one head or classifier on "
    "all of them, in place of a sweep. None of them learns.",
)


save = click.option(
    "--save",
    type=click.Choice(["best", "all"]),
    default="all",
    show_default=True,
    help="Of a sweep, keep every network, or only that of the member that val chooses; figures and "
    "predictions are kept of all.",
)


def network_options(command: Any) -> Any:
    """The options of what `train` and `hierarchy` start from, besides the backbone's name."""
    listing = options.info_flag("--list-backbones", _list_backbones, "Show the backbones, and end.")
    return _decorated(command, [*map(_option, OF_THE_BACKBONE), listing])


def training_options(*, jobs: Iterable[str], fusions: bool = False, **defaults: str) -> Callable[[Any], Any]:
    """The options of all settings that some of the jobs have a use for, but for those of `network_options`.

    `defaults` say, by the names of settings, what is taken where an option is not given. With `fusions`, a
    head may also be a way from the patches of an image to the image.
    """
    rows = [row for row in SETTINGS if row.jobs.intersection(jobs) and row not in OF_THE_BACKBONE]
    if fusions:
        rows = [_with_fusions(row) if row.name == "head" else row for row in rows]
    rows = [replace(row, shown=defaults.get(row.name, row.shown)) for row in rows]
    decorators = [
        *(_option(row) for row in rows if row.changes_results),
        options.device,
        deterministic,
        tf32,
        strategy,
        devices,
        options.workers,
        wait,
        *(_option(row) for row in rows if not row.changes_results),
    ]
    return lambda command: _decorated(command, decorators)


def _with_fusions(row: Setting) -> Setting:
    assert isinstance(row.type, Choice)
    return replace(row, type=Choice((*row.type.names, *FUSIONS)), help=row.help + _FUSING)


def _decorated(command: Any, decorators: Iterable[Callable[[Any], Any]]) -> Any:
    for decorator in reversed([*decorators]):
        command = decorator(command)
    return command


def _option(row: Setting) -> Callable[[Any], Any]:
    """The option of a setting."""
    if isinstance(row.type, Switch):
        return click.option(f"--{row.spelling}/--no-{row.spelling}", default=row.default, help=row.help)
    return click.option(
        f"--{row.spelling}",
        type=_TYPES[type(row.type)](row.type),
        metavar=row.metavar or None,
        default=row.default,
        show_default=row.default is not None,
        envvar=list(row.environment) or None,
        help=f"{row.help}  [default: {row.shown}]" if row.shown else row.help,
    )
