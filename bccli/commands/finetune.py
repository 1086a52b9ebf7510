"""`bccli finetune`: run → run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bccli.core.errors import UsageError
from bccli.core.training.setting_types import TUNING
from bccli.options import common as options
from bccli.options import path_types
from bccli.options.sharing import share
from bccli.options.training import save, training_options
from bccli.options.training_design import context_of, design_options, head_of, schedule_of, show_members
from bccli.options.training_results import show_run, show_sweep
from bccli.recipes import RecipeCommand, is_given, left_to_recipe
from bccli.terminal import console

LR = 1e-5


def _one_number(context: click.Context, param: click.Parameter, given: tuple[int, ...]) -> int | None:
    """The only value of an option that makes no sweep, as --from-layer beside it does. Raises UsageError for
    two, of which the last would count silently."""
    first, *others = given or (None,)
    if other := next((each for each in others if each != first), None):
        raise UsageError(f"{param.opts[0]}: is given twice, {first} and {other}; name one")
    return first


@click.command(cls=RecipeCommand)
@click.argument("run", type=path_types.existing())
@click.argument("out", type=path_types.existing())
@options.recipe
@click.option(
    "--data",
    type=path_types.existing(),
    default=None,
    help="A prepared dataset of the same classes.  [default: that of RUN]",
)
@click.option(
    "--from-layer",
    "from_layers",
    metavar="[BACKBONE:]GAMMA|NAME",
    multiple=True,
    help="The first layer of the backbone that learns, by its number or name, for the members of a sweep or, "
    "behind the name of a backbone, for this one only; several make a sweep.",
)
@click.option(
    "--blocks",
    type=click.IntRange(min=1),
    multiple=True,
    callback=_one_number,
    help="Let the last N blocks of the backbone learn.",
)
@click.option("--all/--no-all", "whole", help="Let the whole backbone learn.")
@click.option(
    "--train-batch-norm/--no-train-batch-norm",
    help="Batch norms from there on learn, too, and use each batch's statistics; else they stay as they are.",
)
@click.option(
    "--reject-overfit/--no-reject-overfit",
    help="In a sweep, do not choose what exceeds val accuracy by more than 10 points in train.",
)
@options.seeds
@training_options(
    jobs=(TUNING,),
    head="RUN's, with its weights",
    dense="RUN's; what is given makes the head a fresh one",
    dropout="RUN's; what is given makes the head a fresh one",
    output="RUN's",
    loss="RUN's",
    lr=f"{LR:g}",
    schedule="constant",
    decay_epochs="10",
    weight_decay="0",
    steps_per_epoch="one pass",
    monitor="val_loss",
    fold="RUN's",
)
@save
@options.dry_run
@options.shard
@options.skip_bad
@options.overwrite
@click.pass_obj
def finetune(screen: console.Console, run: Path, out: Path, **settings: Any) -> int:
    """Train a run's backbone further, from some layer on.

    RUN is a network that bccli train or finetune made, one of all folds, or a sweep, of which each network is
    fine-tuned; OUT a new folder. Each fold starts from RUN's of the same one. Layers before it keep their
    weights and run in inference mode. Prints the figures of val and test; for several layers, seeds or
    networks the leaderboard.
    """
    from bccli.core.data.positive_class import positive_sentence
    from bccli.core.runs.run_folder import is_sweep
    from bccli.core.sweeps.cross_validation import is_of_folds, train_one
    from bccli.core.sweeps.finetune import finetune_all, load_bases
    from bccli.core.sweeps.sweep import Rules
    from bccli.core.training.finetune import data_of, data_root
    from bccli.core.training.parallel.choice import SINGLE

    options.refuse_overwriting_shards(settings)
    bases = load_bases(run)
    share(screen, settings, data_root(bases.runs[0], settings["data"]))
    context, cache = context_of(settings, screen), settings["cache"]
    if context.strategy != SINGLE and not settings["dry_run"]:
        context.start_tensorflow()  # before the layers are looked at, as TensorFlow then knows its devices
    starts = _starts(bases, screen, settings)
    designs = {start: _design(start, settings) for start in starts}
    dataset = data_of(bases.runs[0], settings["data"])
    screen.note(positive_sentence(dataset.classes, dataset.positive))
    _name_those_left_out(bases, starts, screen)
    folds = is_of_folds(designs.values(), settings["fold"])
    if settings["dry_run"] and not context.strategy.leads:
        return 0
    if settings["dry_run"]:
        members = {start.name: design for start, design in designs.items()}
        return show_members(screen, members, dataset, folds=folds, skip_bad=settings["skip_bad"])
    several = len(starts) > 1 or bases.of_sweep or starts[0].seeded or is_sweep(out)
    if several or folds:
        context.strategy.check_alone()
    if not several:
        return show_run(train_one(designs[starts[0]], dataset, out, context, folds=folds, cache=cache))
    sweep = finetune_all(
        bases,
        designs,
        dataset,
        out,
        context,
        folds=folds,
        cache=cache,
        rules=Rules(reject_overfit=settings["reject_overfit"], keep_all=settings["save"] == "all"),
    )
    return show_sweep(sweep, skip_bad=settings["skip_bad"], left_out=bool(bases.unfinished))


def _starts(bases: Any, screen: console.Console, settings: dict[str, Any]) -> list[Any]:
    """The fine-tunings that the options ask for, of each base from its layers."""
    from bccli.core.sweeps.finetune import Layers, starts_of

    layers = Layers(
        settings["from_layers"], settings["blocks"], settings["whole"], lenient=left_to_recipe("from_layers")
    ).of_all(
        bases,
        device=settings["device"],
        deterministic=settings["deterministic"],
        verbose=screen.verbose,
    )
    return starts_of(bases, layers, seed=settings["seed"], seeds=settings["seeds"])


def _design(start: Any, settings: dict[str, Any]) -> Any:
    """The design of a fine-tuning: what is not given is its run's."""
    from bccli.core.training import finetune as finetuning
    from bccli.core.training.design import Design

    known = start.base.info.settings
    output = settings["output"] or known["output"]
    fresh = any(is_given(name) for name in ("head", "dense", "dropout", "output"))
    stored = {"head": known.get("head"), "dense": tuple(known["dense"]), "dropout": known["dropout"]}
    if settings["head"] is not None and settings["head"] != stored["head"]:
        stored |= {"dense": None, "dropout": None}
    wanted = stored | {key: settings[key] for key in stored if settings[key] is not None}
    loss = settings["loss"] or (known["loss"] if output == known["output"] else None)
    if settings["fold"] is None:
        settings = {**settings, "fold": known["fold"]}
    settings = {**settings, "seed": start.seed}
    design = Design(
        schedule=schedule_of(settings, output=output, loss=loss, lr=settings["lr"] or LR),
        **design_options(settings),
    )
    return finetuning.design_of(
        start.base,
        design,
        start.gamma,
        head=head_of(wanted, output=output) if fresh else None,
        train_batch_norm=settings["train_batch_norm"],
    )


def _name_those_left_out(bases: Any, starts: Sequence[Any], screen: console.Console) -> None:
    """Say which members of a sweep are not fine-tuned, and why."""
    for path in bases.unfinished:
        screen.warn(f"{path}: is unfinished and was left out; run the same bccli train again")
    for path in bases.others:
        screen.note(f"{path}: has no backbone to train, and is left out")
    used = {start.base.root for start in starts}
    for base in bases.runs:
        if base.root not in used:
            screen.note(f"{base.root}: is left out, as no --from-layer or seed is for it")
