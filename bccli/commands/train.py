"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli import console, options
from bccli.core.catalog import BACKBONES
from bccli.core.errors import UsageError
from bccli.recipes import RecipeCommand
from bccli.training_options import (
    FUSIONS,
    design_options,
    fusion_design,
    head_of,
    save,
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
    "--backbone",
    "backbones",
    metavar="NAME",
    multiple=True,
    default=["cnn-15"],
    show_default=True,
    help="A network, or a set of them such as cbis-20; --list-backbones names them. Several make a sweep.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=None,
    help="Train with so many seeds, from --seed on: a sweep with means and deviations.",
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
@click.option(
    "--features-from",
    type=options.existing(),
    metavar="RUN",
    default=None,
    help="A run that was trained on patches: --head then says how its features of the patches of each image "
    "become one answer.",
)
@training_options(
    fusions=True,
    head="gap; with --features-from bilstm",
    dense="none; thesis: 10; bilstm: 128,128,128, its layers in each direction; attention: 128",
    dropout="0; thesis: 0.2",
    output="softmax",
    loss="the output's cross-entropy",
    lr="Keras's of the optimizer",
)
@save
@options.dry_run
@options.skip_bad
@options.overwrite
@options.info_flag("--list-backbones", _list_backbones, "Show the backbones, and end.")
@click.pass_obj
def train(screen: console.Console, data: Path, run: Path, **settings: Any) -> int:
    """Train a classifier on a prepared dataset.

    DATA is what bccli prepare made, RUN a new folder for the network, its figures and plots. The same
    command again continues an interrupted run; a larger --epochs extends a finished one. Several backbones
    or seeds make a sweep: a run in RUN/NAME for each, and RUN/leaderboard.csv. Prints the figures of val
    and test, or the leaderboard.
    """
    from bccli.core import crossvalidation, designs, experiments, grids, results
    from bccli.core.evaluation import figures_json
    from bccli.core.prepared import load_dataset

    backbones = grids.expand(settings["backbones"])
    if settings["features_from"]:
        design = fusion_design(settings)
        backbones = [design.backbone]
    else:
        design = _design(settings, backbones[0])
    grid = grids.grid(design, backbones, settings["seeds"])
    designs.check(grid)
    dataset, surroundings = load_dataset(data), surroundings_of(settings, screen)
    folds, seeded, cache = settings["fold"] == "all", settings["seeds"] is not None, settings["cache"]
    if settings["dry_run"]:
        console.show_rows(designs.preview(grid[0], dataset, settings["fold"]))
        return 0
    if len(grid) > 1 or seeded or grids.is_sweep(run):
        keep_all = settings["save"] == "all"
        sweep = grids.train_grid(
            grid, dataset, run, surroundings, folds=folds, seeded=seeded, cache=cache, keep_all=keep_all
        )
        console.show_rows(sweep.rows)
        return 4 if sweep.failed and not settings["skip_bad"] else 0
    train_one = crossvalidation.train_folds if folds else experiments.train
    trained = train_one(grid[0], dataset, run, surroundings, cache=cache)
    console.show_figures(figures_json(results.stored_figures(trained))["runs"])
    return 0


def _design(settings: dict[str, Any], backbone: str) -> Any:
    from bccli.core.designs import Design

    if settings["head"] in FUSIONS:
        raise UsageError(
            f"--head {settings['head']} is about the patches of an image; add --features-from RUN, a run "
            "that was trained on patches"
        )
    output = settings["output"] or "softmax"
    return Design(
        backbone=backbone,
        weights=settings["weights"],
        trainable=settings["trainable"],
        input_norm=settings["input_norm"],
        head=head_of(settings, output=output),
        schedule=schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"]),
        **design_options(settings),
    )
