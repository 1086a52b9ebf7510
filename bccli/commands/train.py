"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli import console, options
from bccli.core.catalog import BACKBONES
from bccli.recipes import RecipeCommand

LOSSES = ("categorical_crossentropy", "binary_crossentropy", "mse")
OPTIMIZERS = ("adam", "rmsprop", "sgd")
MEASURES = ("val_loss", "val_accuracy", "loss", "accuracy")


def _list_backbones() -> None:
    rows = [
        {
            "name": row.name,
            "size": row.size,
            "layers": row.layers,
            "weights": "imagenet" if row.weights else "none",
        }
        for row in BACKBONES.values()
    ]
    console.show_rows(rows)


def _fold(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number from 0 on nor all")
    return int(value)


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
    "--dense",
    type=options.ListType(options.positive, "1024,1024"),
    default="",
    help="Hidden layers of the head.",
)
@click.option(
    "--dropout",
    type=options.FiniteType(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the last hidden layer's units that rest in a step.",
)
@click.option(
    "--output",
    type=click.Choice(["softmax", "sigmoid"]),
    default="softmax",
    show_default=True,
    help="The last activation; sigmoid is one unit, for two classes.",
)
@click.option(
    "--loss",
    type=click.Choice(LOSSES),
    default=None,
    help="What is minimised.  [default: the output's cross-entropy]",
)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default="adam",
    show_default=True,
    help="What turns gradients into steps.",
)
@click.option(
    "--lr",
    type=options.FiniteType(0, min_open=True),
    default=None,
    help="Learning rate.  [default: Keras's of the optimizer]",
)
@options.batch_size
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Passes over train; the best one by --monitor is kept.",
)
@click.option(
    "--patience", type=click.IntRange(min=1), default=None, help="Stop after so many epochs without a gain."
)
@click.option(
    "--monitor",
    type=click.Choice(MEASURES),
    default="val_loss",
    show_default=True,
    help="Which epoch is best.",
)
@click.option(
    "--stop-at",
    type=options.TargetType(MEASURES),
    default=None,
    help="Stop once exceeded, and keep that epoch.",
)
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    show_default=True,
    help="balanced: each class counts the same, however many images it has.",
)
@click.option(
    "--fold", callback=_fold, metavar="K|all", default=None, help="The fold to test on, or all in turn."
)
@options.seed
@options.device
@click.option(
    "--cache",
    type=options.existing(),
    default=None,
    envvar=["BCCLI_TRAIN_CACHE", "BCCLI_CACHE"],
    help="Where features are kept.  [default: DATA/.cache, or RUN/.cache where DATA is read-only]",
)
@click.option(
    "--allow-leakage/--no-allow-leakage", help="Train although test shares patients or images with train."
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
    trained = (crossvalidation.train_folds if settings["fold"] == "all" else experiments.train)(
        design,
        dataset,
        run,
        cache=settings["cache"],
        device=settings["device"],
        overwrite=settings["overwrite"],
        verbose=screen.verbose,
        watcher=screen,
        log=screen.logging,
    )
    console.show_figures(figures_json(results.stored_figures(trained))["runs"])


def _design(settings: dict[str, Any]) -> Any:
    from bccli.core.designs import Design
    from bccli.core.models.heads import DEFAULT_LOSS, Head
    from bccli.core.training import OPTIMIZERS, Schedule

    output = settings["output"]
    return Design(
        backbone=settings["backbone"],
        weights=settings["weights"],
        trainable=settings["trainable"],
        head=Head(settings["dense"], settings["dropout"], output),
        schedule=Schedule(
            output=output,
            loss=settings["loss"] or DEFAULT_LOSS[output],
            optimizer=settings["optimizer"],
            lr=settings["lr"] or OPTIMIZERS[settings["optimizer"]][1],
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            patience=settings["patience"],
            monitor=settings["monitor"],
            stop_at=settings["stop_at"],
            class_weights=settings["class_weights"],
            seed=settings["seed"],
        ),
        fold=settings["fold"] if isinstance(settings["fold"], int) else None,
        allow_leakage=settings["allow_leakage"],
    )
