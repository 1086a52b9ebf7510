"""`bccli hierarchy`: a tree of classifiers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bccli.core.catalog import DATASETS
from bccli.core.errors import UsageError
from bccli.core.training.setting_types import NETWORK
from bccli.core.training.settings import SETTINGS
from bccli.options import common as options
from bccli.options import completion, path_types, value_types
from bccli.options.sharing import share
from bccli.options.training import network_options, save, save_backbone, training_options
from bccli.options.training_design import context_of, design_of
from bccli.options.training_results import show_run, show_sweep
from bccli.recipes import RecipeCommand, built_in, settings_for
from bccli.terminal import console

TUNE_LR = 1e-5
# What is one for all nodes, and so is no setting of a node's own recipe.
_COMMON = (
    "fold", "device", "deterministic", "tf32", "strategy", "devices", "workers", "wait", "tree", "decide",
    "nodes", "composed", "overwrite", "dry_run", "recipe", "seeds", "save", "shard",
    *(row.name for row in SETTINGS if not row.changes_results),
)  # fmt: skip


def _list_trees() -> None:
    console.show_rows(
        {"dataset": row.name, "task": task.name, "tree": task.tree}
        for row in DATASETS.values()
        for task in row.tasks
        if task.tree
    )


@click.command(cls=RecipeCommand)
@click.argument("data", type=path_types.existing())
@click.argument("run", type=path_types.existing())
@options.recipe
@click.option(
    "--tree",
    metavar="TREE|FILE",
    shell_complete=completion.trees,
    default=None,
    help="The labels' tree, such as 'normal, tumor(benign, cancer)', or a file with one.  "
    "[default: the dataset's, see --list-trees]",
)
@click.option(
    "--decide",
    type=click.Choice(["greedy", "path"]),
    default="greedy",
    show_default=True,
    help="greedy: each node chooses among its children; path: the label with the largest product of "
    "probabilities on the way to it.",
)
@click.option(
    "--node",
    "nodes",
    type=path_types.AssignmentType("NODE=RECIPE", *path_types.recipes()),
    multiple=True,
    help="Train this node by a recipe of its own, its table [hierarchy] or [train], which wins over what is "
    "said for all nodes; repeatable.",
)
@click.option(
    "--compose",
    "composed",
    type=path_types.AssignmentType("NODE=RUN[@DATA]"),
    multiple=True,
    help="Take this run as the node's classifier; with DATA, it takes the images of that prepared dataset, "
    "joined by their sources; repeatable. detector=RUN takes a run of bccli train --head detector.",
)
@click.option(
    "--detector",
    type=click.Choice(["auto", "learned", "cam"]),
    default="auto",
    show_default=True,
    help="What finds the regions of nodes on DATA that was prepared with --roi, where no mask marks them: "
    "learned, a detector that learns from the masks of train; cam, the class-activation maps of the node "
    "above; auto, the first where 10 images of train or more have a mask.",
)
@click.option(
    "--backbone",
    type=path_types.BackboneType(),
    metavar="NAME|FILE.toml",
    shell_complete=completion.backbones,
    default="cnn-15",
    show_default=True,
    help="A network of --list-backbones, or a card: a TOML file that describes a frozen network in a file of "
    "ONNX, LiteRT or Keras.",
)
@network_options
@save_backbone
@training_options(
    jobs=(NETWORK,),
    head="gap",
    dense="none; thesis: 10",
    dropout="0; thesis: 0.2",
    output="softmax",
    loss="the output's cross-entropy",
    lr="Keras's of the optimizer; 0.02 for a single dense layer with --weight-decay",
)
@click.option(
    "--from-layer",
    metavar="GAMMA|NAME",
    default=None,
    help="Then let the backbone learn, too, from this layer on, by its number or name.",
)
@click.option(
    "--tune-epochs",
    type=click.IntRange(min=1),
    default=None,
    help="With --from-layer, for so many epochs.  [default: --epochs]",
)
@click.option(
    "--tune-lr",
    type=value_types.FiniteType(0, min_open=True),
    default=TUNE_LR,
    show_default=True,
    help="With --from-layer, at this learning rate.",
)
@click.option(
    "--train-batch-norm/--no-train-batch-norm",
    help="With --from-layer, batch norms from there on learn, too, and use each batch's statistics.",
)
@options.seeds
@save
@options.dry_run
@options.shard
@options.overwrite
@options.info_flag("--list-trees", _list_trees, "Show the trees of the datasets, and end.")
@click.pass_obj
def hierarchy(screen: console.Console, data: Path, run: Path, **settings: Any) -> int:
    """Train a tree of classifiers on a prepared dataset.

    DATA is what bccli prepare made, RUN a new folder for the tree and, in RUN/NODE, for the run of each node
    with children. A node is trained on the images that belong under it. The same command again continues
    what was interrupted. With --fold all, RUN has a tree per fold; with --seeds, one per seed. Prints the
    figures of val and test, or the leaderboard.
    """
    from bccli.core.catalog import built_in_tree
    from bccli.core.data.dataset import load_dataset
    from bccli.core.data.label_tree import find_tree, match_tree
    from bccli.core.data.positive_class import positive_sentence
    from bccli.core.runs.shard import WHOLE
    from bccli.core.training.design import resolve
    from bccli.core.trees.learned_crops import preview_detector, with_detector
    from bccli.core.trees.plan import preview
    from bccli.core.trees.train import share_tree, train_tree
    from bccli.core.trees.trials import share_tree_folds, train_tree_folds, train_tree_seeds

    options.refuse_overwriting_shards(settings)
    resolve(design_of(settings, settings["backbone"]))
    share(screen, settings, data, *_composed_data(settings["composed"]))
    dataset = load_dataset(data)
    dataset.require_images()
    screen.note(positive_sentence(dataset.classes, dataset.positive))
    tree = find_tree(settings["tree"], built_in_tree(dataset.info.dataset, dataset.classes))
    match_tree(tree, dataset.classes, str(data))
    folds = settings["fold"] == "all"
    fold = 0 if folds else settings["fold"]
    plan = with_detector(_plan(tree, settings), dataset, settings["detector"], fold, screen)
    if settings["dry_run"]:
        console.show_rows([*preview(plan, dataset, fold), *preview_detector(plan, dataset, fold)])
        return 0
    context, cache, seeds = context_of(settings, screen), settings["cache"], settings["seeds"]
    context.strategy.check_alone()
    if seeds is None:
        if context.shard != WHOLE:
            share_one = share_tree_folds if folds else share_tree
            return show_run(share_one(plan, dataset, run, context, cache=cache))
        train = train_tree_folds if folds else train_tree
        return show_run(train(plan, dataset, run, context, cache=cache))
    keep_all = settings["save"] == "all"
    sweep = train_tree_seeds(plan, seeds, dataset, run, context, folds=folds, cache=cache, keep_all=keep_all)
    return show_sweep(sweep, skip_bad=False)


def _plan(tree: Any, settings: dict[str, Any]) -> Any:
    from bccli.core.trees.plan import DETECTOR, Plan, check_plan

    detectors = {text for name, text in settings["composed"] if name == DETECTOR}
    settings = {**settings, "composed": [pair for pair in settings["composed"] if pair[0] != DETECTOR]}
    nodes, composed = (_by_node(tree, settings[key], f"--{option}") for key, option in _OPTIONS.items())
    if both := set(nodes) & set(composed):
        raise UsageError(f"--compose {min(both)}: this node has --node, too; a run is not trained again")
    plan = Plan(
        tree=tree,
        node_settings=_node_settings(settings),
        decide=settings["decide"],
        own={name: _node_settings(_own_settings(file, settings)) for name, file in nodes.items()},
        recipes={name: file if built_in(file) else str(Path(file).resolve()) for name, file in nodes.items()},
        reused_runs={name: _reused(text) for name, text in composed.items()},
        reused_detector=_reused_detector(sorted(detectors)),
    )
    check_plan(plan)
    return plan


def _own_settings(recipe: str, settings: dict[str, Any]) -> dict[str, Any]:
    return settings_for(recipe, settings, tables=("hierarchy", "train"), common=_COMMON)


_OPTIONS = {"nodes": "node", "composed": "compose"}


def _by_node(tree: Any, pairs: Sequence[tuple[str, str]], option: str) -> Mapping[str, str]:
    from bccli.core.data.label_tree import find_node

    found: dict[str, str] = {}
    for name, value in pairs:
        find_node(tree, name, option)
        if found.setdefault(name, value) != value:
            raise UsageError(f"{option} {name}: is given twice; leave one out")
    return found


def _node_settings(settings: dict[str, Any]) -> Any:
    from bccli.core.trees.plan import NodeSettings, Second

    second = None
    if settings["from_layer"] is not None:
        epochs = settings["tune_epochs"] or settings["epochs"]
        second = Second(settings["from_layer"], epochs, settings["tune_lr"], settings["train_batch_norm"])
    design = design_of(settings, settings["backbone"])
    if design.locates:
        raise UsageError(
            f"--head {settings['head']} finds lesions, and a node decides on classes; name another head, or "
            "train the detector by itself with bccli train"
        )
    return NodeSettings(design, second)


def _reused(text: str) -> Any:
    """RUN or RUN@DATA."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.runs.run_folder import load_run
    from bccli.core.trees.plan import ReusedRun

    run, data = _run_and_data(text)
    return ReusedRun(load_run(run), load_dataset(data) if data else None)


def _reused_detector(texts: Sequence[str]) -> Any:
    if len(texts) > 1:
        raise UsageError("--compose detector: is given twice; leave one out")
    found = _reused(texts[0]) if texts else None
    if found and found.data:
        raise UsageError("--compose detector: sees the images of the tree; leave @DATA out")
    return found


def _run_and_data(text: str) -> tuple[Path, Path | None]:
    run, mark, data = text.rpartition("@")
    return (
        (Path(text), None) if not mark or Path(text).exists() else (Path(run), Path(data) if data else None)
    )


def _composed_data(composed: Sequence[tuple[str, str]]) -> list[Path | None]:
    """The datasets that --compose names."""
    return [_run_and_data(text)[1] for _, text in composed]
