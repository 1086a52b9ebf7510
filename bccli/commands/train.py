"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli import console, options
from bccli.core.catalog import BACKBONES
from bccli.recipes import RecipeCommand
from bccli.training_options import (
    design_options,
    head_of,
    schedule_of,
    surroundings_of,
    training_options,
)


def _list_backbones() -> None:
    from bccli.core.models.weights import cached_file

    rows = [
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
    console.show_rows(rows)


@click.command(cls=RecipeCommand)
@click.argument("data", type=options.existing())
@click.argument("run", type=options.existing())
@options.recipe
@click.option(
    "--backbone", default="cnn-15", show_default=True, help="A network; --list-backbones names them."
)
@click.option(
    "--weights",
    type=options.FileOr("imagenet", "none"),
    metavar="imagenet|none|FILE",
    default=None,
    help="Weights to start from.  [default: imagenet where there are some]",
)
@click.option(
    "--trainable",
    type=click.Choice(["none", "all"]),
    default=None,
    help="Which layers of the backbone learn.  [default: none with weights, all without]",
)
@click.option(
    "--input-norm",
    type=click.Choice(["backbone", "train"]),
    default="backbone",
    show_default=True,
    help="How pixels reach the backbone: as it was trained with them, or with the mean and deviation of "
    "train's channels taken out of them.",
)
@training_options(
    head="gap",
    dense="none; thesis: 10",
    dropout="0; thesis: 0.2",
    output="softmax",
    loss="the output's cross-entropy",
    lr="Keras's of the optimizer",
)
@options.dry_run
@options.overwrite
@options.info_flag("--list-backbones", _list_backbones, "Show the backbones, and end.")
@click.pass_obj
def train(screen: console.Console, data: Path, run: Path, **settings: Any) -> None:
    """Train a classifier on a prepared dataset.

    DATA is what bccli prepare made, RUN a new folder for the network, its figures and plots. The same
    command again continues an interrupted run; a larger --epochs extends a finished one. Prints the
    figures of val and test.
    """
    from bccli.core import crossvalidation, designs, experiments, results
    from bccli.core.evaluation import figures_json
    from bccli.core.prepared import load_dataset

    design = _design(settings)
    designs.resolve(design)
    dataset = load_dataset(data)
    if settings["dry_run"]:
        console.show_rows(designs.preview(design, dataset, settings["fold"]))
        return
    train_all = crossvalidation.train_folds if settings["fold"] == "all" else experiments.train
    trained = train_all(design, dataset, run, surroundings_of(settings, screen), cache=settings["cache"])
    console.show_figures(figures_json(results.stored_figures(trained))["runs"])


def _design(settings: dict[str, Any]) -> Any:
    from bccli.core.designs import Design

    output = settings["output"] or "softmax"
    return Design(
        backbone=settings["backbone"],
        weights=settings["weights"],
        trainable=settings["trainable"],
        input_norm=settings["input_norm"],
        head=head_of(settings, output=output),
        schedule=schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"]),
        **design_options(settings),
    )
