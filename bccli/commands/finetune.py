"""`bccli finetune`: run → run."""

from pathlib import Path
from typing import Any

import click

from bccli.core.training.setting_types import TUNING
from bccli.options import common as options
from bccli.options.sharing import share
from bccli.options.training import save, training_options
from bccli.options.training_design import context_of, design_options, head_of, schedule_of
from bccli.recipes import RecipeCommand, is_given
from bccli.terminal import console

LR = 1e-5


@click.command(cls=RecipeCommand)
@click.argument("run", type=options.existing())
@click.argument("out", type=options.existing())
@options.recipe
@click.option(
    "--data",
    type=options.existing(),
    default=None,
    help="A prepared dataset of the same classes.  [default: that of RUN]",
)
@click.option(
    "--from-layer",
    "from_layers",
    metavar="GAMMA|NAME",
    multiple=True,
    help="The first layer of the backbone that learns, by its number or name; several make a sweep.",
)
@click.option(
    "--blocks", type=click.IntRange(min=1), default=None, help="Let the last N blocks of the backbone learn."
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
@training_options(
    jobs=(TUNING,),
    head="RUN's, with its weights",
    dense="RUN's; what is given makes the head a fresh one",
    dropout="RUN's; what is given makes the head a fresh one",
    output="RUN's",
    loss="RUN's",
    lr=f"{LR:g}",
)
@save
@options.skip_bad
@options.overwrite
@click.pass_obj
def finetune(screen: console.Console, run: Path, out: Path, **settings: Any) -> int | None:
    """Train a run's backbone further, from some layer on.

    RUN is a network that bccli train or finetune made, OUT a new folder. Layers before it keep their weights
    and run in inference mode. Prints the figures of val and test; for several layers the leaderboard.
    """
    from bccli.core.data.positive_class import positive_sentence
    from bccli.core.evaluation.leaderboard import figures_json
    from bccli.core.sweeps.finetune import finetune_all
    from bccli.core.training import finetune as finetuning
    from bccli.core.training import network as experiments
    from bccli.core.training import run_contents as results

    base = finetuning.load_base(run)
    share(screen, settings, finetuning.data_root(base, settings["data"]))
    designs = _designs(base, screen, settings)
    dataset = finetuning.data_of(base, settings["data"])
    screen.note(positive_sentence(dataset.classes, dataset.positive))
    context, cache = context_of(settings, screen), settings["cache"]
    if len(designs) == 1:
        tuned = experiments.train(designs[0], dataset, out, context, cache=cache)
        console.show_figures(figures_json(results.stored_figures(tuned))["runs"])
        return None
    sweep = finetune_all(
        base,
        designs,
        dataset,
        out,
        context,
        cache=cache,
        reject_overfit=settings["reject_overfit"],
        keep_all=settings["save"] == "all",
    )
    console.show_sweep(sweep.rows, figures_json(sweep.figures)["runs"])
    return 4 if sweep.failed and not settings["skip_bad"] else 0


def _designs(base: Any, screen: console.Console, settings: dict[str, Any]) -> list[Any]:
    from bccli.core.errors import UsageError
    from bccli.core.training import finetune as finetuning
    from bccli.core.training.design import Design

    if settings["fold"] == "all":
        raise UsageError("--fold all: a run is of one fold, and so is what comes of it; leave it out")
    known = base.info.settings
    output = settings["output"] or known["output"]
    fresh = any(is_given(name) for name in ("head", "dense", "dropout", "output"))
    stored = {"head": known.get("head"), "dense": tuple(known["dense"]), "dropout": known["dropout"]}
    if settings["head"] is not None and settings["head"] != stored["head"]:
        stored |= {"dense": None, "dropout": None}
    wanted = stored | {key: settings[key] for key in stored if settings[key] is not None}
    loss = settings["loss"] or (known["loss"] if output == known["output"] else None)
    if settings["fold"] is None:
        settings = {**settings, "fold": known["fold"]}
    design = Design(
        schedule=schedule_of(settings, output=output, loss=loss, lr=settings["lr"] or LR),
        **design_options(settings),
    )
    layers = finetuning.find_layers(
        base,
        layers=settings["from_layers"],
        blocks=settings["blocks"],
        whole=settings["whole"],
        device=settings["device"],
        deterministic=settings["deterministic"],
        verbose=screen.verbose,
    )
    return [
        finetuning.design_of(
            base,
            design,
            layer,
            head=head_of(wanted, output=output) if fresh else None,
            train_batch_norm=settings["train_batch_norm"],
        )
        for layer in dict.fromkeys(layers)
    ]
