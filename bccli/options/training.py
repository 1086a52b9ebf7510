"""What `train`, `finetune` and `hierarchy` have in common: their options, and what core makes of them."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from bccli.core.catalog import BACKBONES
from bccli.core.errors import UsageError
from bccli.core.models.heads import HEADS as HEAD_KINDS
from bccli.core.models.heads import Head
from bccli.options import common as options
from bccli.recipes import built_in, is_given, left_to_recipe, value_in_recipe
from bccli.terminal import console
from bccli.terminal.console import Console

HEADS = tuple(HEAD_KINDS)
FUSIONS = ("bilstm", "attention", "vote", "mean", "svm", "blocks-2x2")
CLASSIFIERS = ("dense", "svm", "forest", "logistic", "boosting", "bovw")
LOSSES = ("categorical_crossentropy", "binary_crossentropy", "mse", "focal")
SCHEDULES = ("constant", "cosine", "exponential", "step")
OPTIMIZERS = ("adam", "rmsprop", "sgd")
MEASURES = ("val_loss", "val_accuracy", "loss", "accuracy")


_FUSING = (
    " With --features-from, how the patches of an image become one answer: bilstm is a network that reads "
    "them row by row, attention one that weighs them in any order; vote and mean are rules about what RUN "
    "says of each patch; svm is a support vector machine over all their features joined, blocks-2x2 one over "
    "each 2×2 neighbours, which then vote."
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


def _fold(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number from 0 on nor all")
    return int(value)


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
    for decorator in reversed(_NETWORK):
        command = decorator(command)
    return command


_NETWORK = (
    click.option(
        "--weights",
        type=options.FileOr("imagenet", "none"),
        metavar="imagenet|none|FILE",
        default=None,
        help="Weights to start from.  [default: imagenet where there are some]",
    ),
    click.option(
        "--trainable",
        type=click.Choice(["none", "all"]),
        default=None,
        help="Which layers of the backbone learn.  [default: none with weights, all without]",
    ),
    click.option(
        "--input-norm",
        type=click.Choice(["backbone", "train"]),
        default="backbone",
        show_default=True,
        help="How pixels reach the backbone: as it was trained with them, or with the mean and deviation of "
        "train's channels taken out of them.",
    ),
    options.info_flag("--list-backbones", _list_backbones, "Show the backbones, and end."),
)


def training_options(
    *, head: str, dense: str, dropout: str, output: str, loss: str, lr: str, fusions: bool = False
) -> Callable[[Any], Any]:
    """All options of training; the words say what is taken where one is not given.

    With `fusions`, a head may also be a way from the patches of an image to the image.
    """
    decorators = (
        click.option(
            "--head",
            type=click.Choice([*HEADS, *FUSIONS] if fusions else HEADS),
            default=None,
            help="What sits on the backbone: gap on the global average of its maps; blocks on those of all "
            "its blocks, joined; thesis on the maps themselves, pooled 2×2, flattened and normalised by "
            f"batch.{_FUSING if fusions else ''}  [default: {head}]",
        ),
        click.option(
            "--dense",
            type=options.ListType(options.positive, "1024,1024"),
            default=None,
            help=f"Hidden layers of the head.  [default: {dense}]",
        ),
        click.option(
            "--dropout",
            type=options.FiniteType(0, 1, max_open=True),
            default=None,
            help=f"Share of the last hidden layer's units that rest in a step.  [default: {dropout}]",
        ),
        click.option(
            "--output",
            type=click.Choice(["softmax", "sigmoid"]),
            default=None,
            help=f"The last activation; sigmoid is one unit, for two classes.  [default: {output}]",
        ),
        click.option(
            "--loss",
            type=click.Choice(LOSSES),
            default=None,
            help=f"What is minimised.  [default: {loss}]",
        ),
        click.option(
            "--label-smoothing",
            type=options.FiniteType(0, 1, max_open=True),
            default=0.0,
            show_default=True,
            help="Share of each label that is spread evenly over all classes.",
        ),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZERS),
            default="adam",
            show_default=True,
            help="What turns gradients into steps.",
        ),
        click.option(
            "--lr",
            type=options.FiniteType(0, min_open=True),
            default=None,
            help=f"Learning rate.  [default: {lr}]",
        ),
        click.option(
            "--schedule",
            type=click.Choice(SCHEDULES),
            default="constant",
            show_default=True,
            help="How the learning rate changes: cosine to 0 over all epochs; exponential and step by "
            "--decay, evenly or at once.",
        ),
        click.option(
            "--decay",
            type=options.FiniteType(0, 1, min_open=True, max_open=True),
            default=None,
            help="What exponential and step multiply the learning rate by.  [default: 0.1]",
        ),
        click.option(
            "--decay-epochs",
            type=options.FiniteType(0, min_open=True),
            default=None,
            help="In how many epochs they do so once.  [default: 10]",
        ),
        click.option(
            "--warmup",
            type=options.FiniteType(0),
            metavar="EPOCHS",
            default=0.0,
            show_default=True,
            help="In how many epochs the learning rate grows up to --lr, before its schedule begins.",
        ),
        click.option(
            "--clip-norm",
            type=options.FiniteType(0, min_open=True),
            default=None,
            help="Shorten the gradient of a step to this norm, all weights taken together.",
        ),
        options.batch_size,
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            default=50,
            show_default=True,
            help="Passes over train; the best one by --monitor is kept.",
        ),
        click.option(
            "--steps-per-epoch",
            type=click.IntRange(min=1),
            default=None,
            help="End an epoch after so many steps; the next one goes on where it ended.  "
            "[default: one pass]",
        ),
        click.option(
            "--patience",
            type=click.IntRange(min=1),
            default=None,
            help="Stop after so many epochs without a gain.",
        ),
        click.option(
            "--monitor",
            type=click.Choice(MEASURES),
            default="val_loss",
            show_default=True,
            help="Which epoch is best.",
        ),
        click.option(
            "--stop-at",
            type=options.TargetType(MEASURES),
            default=None,
            help="Stop once exceeded, and keep that epoch.",
        ),
        click.option(
            "--class-weights",
            type=click.Choice(["none", "balanced"]),
            default="none",
            show_default=True,
            help="balanced: each class counts the same, however many images it has.",
        ),
        click.option(
            "--augment",
            type=options.policy(),
            metavar="POLICY|FILE",
            default=None,
            help="Show training a fresh child of each image every time, by a policy that bccli augment "
            "--list-policies names.",
        ),
        click.option(
            "--views",
            type=click.IntRange(min=1),
            default=None,
            help="With --augment and a frozen backbone: compute the features of so many children of each "
            "image once, and draw among these; an approximation of fresh children.",
        ),
        click.option(
            "--augment-val/--no-augment-val",
            help="Watch val augmented, too, as Keras's generators do; final figures are of images as they "
            "are.",
        ),
        click.option(
            "--mixed-precision/--no-mixed-precision",
            help="Train in 16 bits where that is safe, which is faster on GPUs; the model is saved in 32.",
        ),
        click.option(
            "--fold",
            callback=_fold,
            metavar="K|all",
            default=None,
            help="The fold to test on, or all in turn.",
        ),
        options.seed,
        options.device,
        options.workers,
        click.option(
            "--cache",
            type=options.existing(),
            default=None,
            envvar=["BCCLI_TRAIN_CACHE", "BCCLI_CACHE"],
            help="Where features are kept.  [default: DATA/.cache, or RUN/.cache where DATA is read-only]",
        ),
        click.option(
            "--allow-leakage/--no-allow-leakage",
            help="Train although test shares patients or images with train.",
        ),
        click.option("--tensorboard/--no-tensorboard", help="Also write RUN/tensorboard."),
    )

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def schedule_of(settings: dict[str, Any], *, output: str, loss: str | None, lr: float | None) -> Any:
    """The schedule that the options describe."""
    from bccli.core.models.heads import DEFAULT_LOSS
    from bccli.core.training.learning_rate import DECAY, DECAY_EPOCHS
    from bccli.core.training.learning_rate import SCHEDULES as COURSES
    from bccli.core.training.settings import OPTIMIZERS, Schedule

    decays = COURSES[settings["schedule"]].decays
    return Schedule(
        output=output,
        loss=loss or DEFAULT_LOSS[output],
        optimizer=settings["optimizer"],
        lr=lr or OPTIMIZERS[settings["optimizer"]][1],
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
        head_epochs=settings.get("head_epochs", 0),
        layer_decay=settings.get("layer_decay", 1.0),
    )


def head_of(settings: dict[str, Any], *, output: str) -> Any:
    """The head that the options describe."""
    name = settings["head"] or HEADS[0]
    kind = HEAD_KINDS[name]
    return Head(
        dense=kind.dense if settings["dense"] is None else settings["dense"],
        dropout=kind.dropout if settings["dropout"] is None else settings["dropout"],
        output=output,
        kind=name,
    )


# What --features-from has decided already.
_OF_THE_PATCHES = ("backbones", "classifiers", "weights", "trainable", "input_norm", "mixed_precision")

# What only a network that is trained step by step heeds, and what only one with a backbone does.
_OF_STEPS = (
    "dense", "dropout", "output", "loss", "label_smoothing", "optimizer", "lr", "schedule", "decay",
    "decay_epochs", "warmup", "clip_norm", "epochs", "steps_per_epoch", "patience", "monitor", "stop_at",
    "mixed_precision", "tensorboard", "augment_val",
)  # fmt: skip
_OF_A_BACKBONE = ("backbones", "weights", "head", "input_norm")


def fusion_design(settings: dict[str, Any]) -> Any:
    """The design of a fusion that the options of `train` describe.

    Options that a way has no use for are passed over, so that one recipe fits all ways: rules learn
    nothing, and classifiers have no epochs.
    """
    from bccli.core.fusion.patch_run import design_of, load_base
    from bccli.core.training.design import Design

    name = settings["head"] or FUSIONS[0]
    for option in (*_OF_THE_PATCHES, *(("head",) if name in HEADS else ())):
        if is_given(option):
            spelled = option.removesuffix("s").replace("_", "-") if option != "weights" else option
            choice = f" {name}" if option == "head" else ""
            raise UsageError(
                f"--{spelled}{choice} is about images, and --features-from takes features of patches from a "
                f"run; leave one out{' or name one of ' + ', '.join(FUSIONS) if choice else ''}"
            )
    if settings["augment"] and not settings["views"]:
        raise UsageError(
            "--augment: with --features-from, features are computed once; add --views N for those of N "
            "children of each image"
        )
    if settings["fold"] == "all":
        raise UsageError(
            "--fold all: the features are of one run, and of the fold that it was trained for; say --fold K"
        )
    settings = _for_head(name, settings)
    base, fusing = load_base(settings["features_from"])
    output = settings["output"] or "softmax"
    schedule = schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"])
    design = Design(
        backbone=base.info.backbone,
        fusing=fusing,
        schedule=schedule,
        **design_options(settings),
    )
    return design_of(design, name, dense=settings["dense"], dropout=settings["dropout"])


def _for_head(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a fusion without those that a recipe has for another head than the one that is named.

    Layers are those of its own head, and children are for a network, which sees one of an image at a time: a
    classifier would hold them all.
    """
    from bccli.core.fusion.methods import FUSIONS as WAYS
    from bccli.core.fusion.methods import Network

    if value_in_recipe("head") in (None, name):
        return settings
    dropped = {"dense"} if left_to_recipe("dense") else set()
    if not isinstance(WAYS[name], Network) and left_to_recipe("augment") and left_to_recipe("views"):
        dropped |= {"augment", "views"}
    return {**settings, **dict.fromkeys(dropped)}


def design_options(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a design that `train` and `finetune` take from the same options."""
    from bccli.core.augmentation import find_policy

    return {
        "fold": settings["fold"] if isinstance(settings["fold"], int) else None,
        "allow_leakage": settings["allow_leakage"],
        "augment": find_policy(settings["augment"]) if settings["augment"] else None,
        "views": settings["views"],
        "augment_val": settings["augment_val"],
    }


def design_of(settings: dict[str, Any], backbone: str) -> Any:
    """The design that the options of `train` describe."""
    from bccli.core.training.design import Design

    if settings["head"] in FUSIONS:
        raise UsageError(
            f"--head {settings['head']} is about the patches of an image; add --features-from RUN, a run "
            "that was trained on patches"
        )
    if "classifiers" in settings:
        _check_classifiers(settings["classifiers"])
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


def _check_classifiers(classifiers: Sequence[str]) -> None:
    """Raises UsageError for an option that none of the classifiers heeds; a recipe may have any."""
    for options_of, heeding in ((_OF_STEPS, {"dense"}), (_OF_A_BACKBONE, {*CLASSIFIERS} - {"bovw"})):
        for option in options_of:
            if heeding.isdisjoint(classifiers) and is_given(option, besides_recipe=True):
                spelled = "backbone" if option == "backbones" else option.replace("_", "-")
                raise UsageError(
                    f"--{spelled}: --classifier {' and '.join(classifiers)} has no use for it; leave it out, "
                    f"or add --classifier {'dense' if len(heeding) == 1 else 'svm'}"
                )


def context_of(settings: dict[str, Any], screen: Console) -> Any:
    """Where and how a run is made."""
    from bccli.core.cores import available_cores
    from bccli.core.training.network import RunContext

    return RunContext(
        log=screen.logging,
        watcher=screen,
        device=settings["device"],
        workers=settings["workers"] or available_cores(),
        verbose=screen.verbose,
        overwrite=settings["overwrite"],
        recipe=built_in(settings["recipe"]),
        tensorboard=settings["tensorboard"],
    )
