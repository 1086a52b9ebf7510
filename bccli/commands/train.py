"""`bccli train`: prepared dataset → run."""

from pathlib import Path
from typing import Any

import click

from bccli.core.training.setting_types import FEATURES, FUSION, NETWORK, WORDS
from bccli.options import common as options
from bccli.options import completion, fetching, given_vectors, path_types
from bccli.options.sharing import share
from bccli.options.training import CLASSIFIERS, join, network_options, save, save_backbone, training_options
from bccli.options.training_design import context_of, design_of, fusion_design, show_members
from bccli.options.training_results import show_run, show_sweep
from bccli.recipes import RecipeCommand
from bccli.terminal import console


@click.command(cls=RecipeCommand)
@fetching.unless_fetching("data")
@fetching.unless_fetching("run")
@options.recipe
@click.option(
    "--backbone",
    "backbones",
    type=path_types.BackboneType(),
    metavar="NAME|FILE.toml",
    shell_complete=completion.backbones,
    multiple=True,
    default=["cnn-15"],
    show_default=True,
    help="A network, or a set of them such as cbis-20; --list-backbones names them. Or a card: a "
    "TOML file that describes a frozen network in a file of ONNX, LiteRT or Keras. Several make a sweep.",
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
    "words, without a backbone. For vectors of more than 1,024 numbers take logistic, whose ridge is chosen "
    "by patients left out. Several make a sweep.",
)
@network_options
@join
@save_backbone
@given_vectors.features
@click.option(
    "--features-from",
    type=path_types.existing(),
    metavar="RUN",
    default=None,
    help="A run that was trained on patches, or one of all folds: --head then says how its features of the "
    "patches of each image become one answer.",
)
@training_options(
    jobs=(NETWORK, FEATURES, WORDS, FUSION),
    fusions=True,
    head="gap; with --features-from bilstm",
    dense="none; thesis: 10; bilstm: 128,128,128, its layers in each direction; attention: 128",
    dropout="0; thesis: 0.2",
    output="softmax",
    loss="the output's cross-entropy",
    lr="Keras's of the optimizer; 0.02 for a single dense layer with --weight-decay",
)
@save
@given_vectors.features_only
@fetching.fetch_weights
@options.dry_run
@options.shard
@options.skip_bad
@options.overwrite
@click.pass_obj
@fetching.or_fetch
def train(screen: console.Console, data: Path, run: Path, **settings: Any) -> int:
    """Train a classifier on a prepared dataset.

    DATA is what bccli prepare made, RUN a new folder for the network, its figures and plots. The same
    command again continues an interrupted run; a larger --epochs extends a finished one. Several backbones
    or seeds make a sweep: a run in RUN/NAME for each, and RUN/leaderboard.csv. Prints the figures of val
    and test, or the leaderboard.
    """
    from bccli.core.data.dataset import load_dataset
    from bccli.core.data.positive_class import positive_sentence
    from bccli.core.runs.run_folder import is_sweep
    from bccli.core.sweeps.cross_validation import is_of_folds, train_one
    from bccli.core.sweeps.grid import name_of, train_grid
    from bccli.core.training.design import preview
    from bccli.core.training.detectors.lesion_cells import detectable

    options.refuse_overwriting_shards(settings)
    grid = _grid(settings)
    share(screen, settings, data)
    dataset, context = load_dataset(data), context_of(settings, screen)
    if grid[0].locates:
        dataset = detectable(dataset, screen)
    grid = given_vectors.found_for(grid, dataset, screen)
    screen.note(positive_sentence(dataset.classes, dataset.positive))
    folds = is_of_folds(grid, settings["fold"])
    seeded, cache = settings["seeds"] is not None, settings["cache"]
    several = len(grid) > 1 or seeded or is_sweep(run)
    if several or folds:
        context.strategy.check_alone()
    if settings["dry_run"] and not context.strategy.leads:
        return 0
    if settings["dry_run"]:
        if several:
            members = {name_of(one, seeded=seeded): one for one in grid}
            return show_members(screen, members, dataset, folds=folds, skip_bad=settings["skip_bad"])
        console.show_rows(preview(grid[0], dataset, 0 if folds else grid[0].fold))
        return 0
    if several:
        keep_all = settings["save"] == "all"
        sweep = train_grid(
            grid, dataset, run, context, folds=folds, seeded=seeded, cache=cache, keep_all=keep_all
        )
        return show_sweep(sweep, skip_bad=settings["skip_bad"])
    return show_run(train_one(grid[0], dataset, run, context, folds=folds, cache=cache))


def _grid(settings: dict[str, Any]) -> list[Any]:
    """The designs of all members, or the only one."""
    from bccli.core.sweeps import grid as grids
    from bccli.core.training.design import check

    if settings["features"]:
        design = given_vectors.design_of(settings)
        backbones = [design.backbone]
    elif settings["features_from"]:
        design = fusion_design(settings)
        backbones = [design.backbone]
    else:
        backbones = grids.expand(settings["backbones"])
        design = design_of(settings, backbones[0])
        if settings["join"]:
            design = grids.join(design, backbones)
            backbones = [design.backbone]
    grid = grids.grid(design, backbones, settings["seeds"], settings["classifiers"])
    check(grid)
    return grid
