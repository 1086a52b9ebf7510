"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli.core.training.setting_types import FEATURES, FUSION, NETWORK, WORDS
from bccli.options import common as options
from bccli.options.training import CLASSIFIERS, network_options, save, training_options
from bccli.options.training_design import context_of, design_of, fusion_design
from bccli.recipes import RecipeCommand
from bccli.terminal import console


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
@options.seeds
@click.option(
    "--classifier",
    "classifiers",
    type=click.Choice(CLASSIFIERS),
    multiple=True,
    default=["dense"],
    show_default=True,
    help="What decides: dense is the head that is trained on the backbone, step by step; svm, forest, "
    "logistic and boosting are fitted to the features of a frozen backbone that --head names (a support "
    "vector machine, a random forest, logistic regression, gradient boosting); bovw is a bag of visual "
    "words, without a backbone. Several make a sweep.",
)
@network_options
@click.option(
    "--features-from",
    type=options.existing(),
    metavar="RUN",
    default=None,
    help="A run that was trained on patches: --head then says how its features of the patches of each image "
    "become one answer.",
)
@training_options(
    jobs=(NETWORK, FEATURES, WORDS, FUSION),
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
@click.pass_obj
def train(screen: console.Console, data: Path, run: Path, **settings: Any) -> int:
    """Train a classifier on a prepared dataset.

    DATA is what bccli prepare made, RUN a new folder for the network, its figures and plots. The same
    command again continues an interrupted run; a larger --epochs extends a finished one. Several backbones
    or seeds make a sweep: a run in RUN/NAME for each, and RUN/leaderboard.csv. Prints the figures of val
    and test, or the leaderboard.
    """
    from bccli.core.data.dataset import load_dataset
    from bccli.core.data.positive_class import positive_sentence
    from bccli.core.evaluation.leaderboard import figures_json
    from bccli.core.runs.run_folder import is_sweep
    from bccli.core.sweeps import cross_validation as crossvalidation
    from bccli.core.sweeps import grid as grids
    from bccli.core.training import design as designs
    from bccli.core.training import network as experiments
    from bccli.core.training import run_contents as results

    backbones = grids.expand(settings["backbones"])
    classifiers = settings["classifiers"]
    if settings["features_from"]:
        design = fusion_design(settings)
        backbones = [design.backbone]
    else:
        design = design_of(settings, backbones[0])
    grid = grids.grid(design, backbones, settings["seeds"], classifiers)
    designs.check(grid)
    dataset, context = load_dataset(data), context_of(settings, screen)
    screen.note(positive_sentence(dataset.classes, dataset.positive))
    folds, seeded, cache = settings["fold"] == "all", settings["seeds"] is not None, settings["cache"]
    if settings["dry_run"]:
        counts = designs.preview(grid[0], dataset, settings["fold"])
        if len(grid) > 1 or seeded:
            return _show_members(grid, dataset, screen, settings)
        console.show_rows(counts)
        return 0
    if len(grid) > 1 or seeded or is_sweep(run):
        keep_all = settings["save"] == "all"
        sweep = grids.train_grid(
            grid, dataset, run, context, folds=folds, seeded=seeded, cache=cache, keep_all=keep_all
        )
        console.show_sweep(sweep.rows, figures_json(sweep.figures)["runs"])
        return 4 if sweep.failed and not settings["skip_bad"] else 0
    train_one = crossvalidation.train_folds if folds else experiments.train
    trained = train_one(grid[0], dataset, run, context, cache=cache)
    console.show_figures(figures_json(results.stored_figures(trained))["runs"])
    return 0


def _show_members(grid: list[Any], dataset: Any, screen: console.Console, settings: dict[str, Any]) -> int:
    """The dry run of a sweep: each member with what it starts from, what of it learns, and its images."""
    from bccli.core.models import backend
    from bccli.core.sweeps.preview import FAILED, preview_members

    backend.start(settings["device"], verbose=screen.verbose)
    fold = 0 if settings["fold"] == "all" else settings["fold"]
    seeded = settings["seeds"] is not None
    rows = preview_members(grid, dataset, fold, seeded=seeded, watcher=screen)
    console.show_rows(rows)
    failing = [row["name"] for row in rows if row["status"] == FAILED]
    if failing:
        screen.warn(f"{len(failing)} of {len(rows)} members would fail: {', '.join(failing)}")
    return 4 if failing and not settings["skip_bad"] else 0
