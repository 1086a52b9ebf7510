"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli import console, options
from bccli.core.catalog import BACKBONES
from bccli.recipes import RecipeCommand, built_in

HEADS = ("gap", "blocks", "thesis")
LOSSES = ("categorical_crossentropy", "binary_crossentropy", "mse", "focal")
SCHEDULES = ("constant", "cosine", "exponential", "step")
OPTIMIZERS = ("adam", "rmsprop", "sgd")
MEASURES = ("val_loss", "val_accuracy", "loss", "accuracy")


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
    "--head",
    type=click.Choice(HEADS),
    default="gap",
    show_default=True,
    help="What sits on the backbone: gap on the global average of its maps; blocks on those of all its "
    "blocks, joined; thesis on the maps themselves, pooled 2×2, flattened and normalised by batch.",
)
@click.option(
    "--dense",
    type=options.ListType(options.positive, "1024,1024"),
    default=None,
    help="Hidden layers of the head.  [default: none; thesis: 10]",
)
@click.option(
    "--dropout",
    type=options.FiniteType(0, 1, max_open=True),
    default=None,
    help="Share of the last hidden layer's units that rest in a step.  [default: 0; thesis: 0.2]",
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
    "--label-smoothing",
    type=options.FiniteType(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of each label that is spread evenly over all classes.",
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
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default="constant",
    show_default=True,
    help="How the learning rate changes: cosine to 0 over all epochs; exponential and step by --decay, "
    "evenly or at once.",
)
@click.option(
    "--decay",
    type=options.FiniteType(0, 1, min_open=True, max_open=True),
    default=None,
    help="What exponential and step multiply the learning rate by.  [default: 0.1]",
)
@click.option(
    "--decay-epochs",
    type=options.FiniteType(0, min_open=True),
    default=None,
    help="In how many epochs they do so once.  [default: 10]",
)
@click.option(
    "--warmup",
    type=options.FiniteType(0),
    metavar="EPOCHS",
    default=0.0,
    show_default=True,
    help="In how many epochs the learning rate grows up to --lr, before its schedule begins.",
)
@click.option(
    "--clip-norm",
    type=options.FiniteType(0, min_open=True),
    default=None,
    help="Shorten the gradient of a step to this norm, all weights taken together.",
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
    "--steps-per-epoch",
    type=click.IntRange(min=1),
    default=None,
    help="End an epoch after so many steps; the next one goes on where it ended.  [default: one pass]",
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
    "--input-norm",
    type=click.Choice(["backbone", "train"]),
    default="backbone",
    show_default=True,
    help="How pixels reach the backbone: as it was trained with them, or with the mean and deviation of "
    "train's channels taken out of them.",
)
@click.option(
    "--augment",
    type=options.policy(),
    metavar="POLICY|FILE",
    default=None,
    help="Show training a fresh child of each image every time, by an augmentation policy.",
)
@click.option(
    "--views",
    type=click.IntRange(min=1),
    default=None,
    help="With --augment and a frozen backbone: compute the features of so many children of each image "
    "once, and draw among these; an approximation of fresh children.",
)
@click.option(
    "--augment-val/--no-augment-val",
    help="Watch val augmented, too, as Keras's generators do; final figures are of images as they are.",
)
@click.option(
    "--mixed-precision/--no-mixed-precision",
    help="Train in 16 bits where that is safe, which is faster on GPUs; the model is saved in 32.",
)
@click.option(
    "--fold", callback=_fold, metavar="K|all", default=None, help="The fold to test on, or all in turn."
)
@options.seed
@options.device
@options.workers
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
@click.option("--tensorboard/--no-tensorboard", help="Also write RUN/tensorboard.")
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
    from bccli.core.cores import available_cores
    from bccli.core.evaluation import figures_json
    from bccli.core.prepared import load_dataset

    design = _design(settings)
    designs.resolve(design)
    dataset = load_dataset(data)
    if settings["dry_run"]:
        console.show_rows(designs.preview(design, dataset, settings["fold"]))
        return
    surroundings = experiments.Surroundings(
        log=screen.logging,
        watcher=screen,
        device=settings["device"],
        workers=settings["workers"] or available_cores(),
        verbose=screen.verbose,
        overwrite=settings["overwrite"],
        recipe=built_in(settings["recipe"]),
        tensorboard=settings["tensorboard"],
    )
    train_all = crossvalidation.train_folds if settings["fold"] == "all" else experiments.train
    trained = train_all(design, dataset, run, surroundings, cache=settings["cache"])
    console.show_figures(figures_json(results.stored_figures(trained))["runs"])


def _design(settings: dict[str, Any]) -> Any:
    from bccli.core.augmentation import find_policy
    from bccli.core.designs import Design
    from bccli.core.models.heads import DEFAULT_LOSS, HEADS, Head
    from bccli.core.rates import DECAY, DECAY_EPOCHS
    from bccli.core.rates import SCHEDULES as COURSES
    from bccli.core.training import OPTIMIZERS, Schedule

    output, kind = settings["output"], HEADS[settings["head"]]
    decays = COURSES[settings["schedule"]].decays
    return Design(
        backbone=settings["backbone"],
        weights=settings["weights"],
        trainable=settings["trainable"],
        head=Head(
            dense=kind.dense if settings["dense"] is None else settings["dense"],
            dropout=kind.dropout if settings["dropout"] is None else settings["dropout"],
            output=output,
            kind=settings["head"],
        ),
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
            label_smoothing=settings["label_smoothing"],
            schedule=settings["schedule"],
            warmup=settings["warmup"],
            decay=settings["decay"] or (DECAY if decays else None),
            decay_epochs=settings["decay_epochs"] or (DECAY_EPOCHS if decays else None),
            clip_norm=settings["clip_norm"],
            mixed_precision=settings["mixed_precision"],
            steps_per_epoch=settings["steps_per_epoch"],
        ),
        fold=settings["fold"] if isinstance(settings["fold"], int) else None,
        allow_leakage=settings["allow_leakage"],
        input_norm=settings["input_norm"],
        augment=find_policy(settings["augment"]) if settings["augment"] else None,
        views=settings["views"],
        augment_val=settings["augment_val"],
    )
