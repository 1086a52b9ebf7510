"""`--features` and `--features-only`: vectors come from a file, or go into one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bccli.core.errors import UsageError
from bccli.options import path_types
from bccli.options.sharing import share
from bccli.options.training import FUSIONS
from bccli.options.training_design import (
    design_options,
    fusing_design,
    head_of,
    schedule_of,
    undecided_of,
)
from bccli.recipes import is_given
from bccli.terminal import console

if TYPE_CHECKING:
    from bccli.core.data.dataset import Dataset
    from bccli.core.training.design import Design

features = click.option(
    "--features",
    type=path_types.existing(),
    metavar="FILE|FOLDER",
    default=None,
    help="Vectors of DATA's images that another program computed, in place of a backbone: HDF5, NPZ, CSV or "
    "Parquet, each found by path or name; a folder may hold a file for each slide, as CLAM and TRIDENT write "
    "them, whose patches --head attention or bilstm fuses, and any other head averages.",
)
features_only = click.option(
    "--features-only",
    type=path_types.existing(dir_okay=False),
    metavar="OUT.h5",
    default=None,
    help="Without RUN: write the vectors that a frozen --backbone makes of all images of DATA as HDF5, which "
    "--features reads, and end.",
)

_ABOUT_BACKBONES = ("backbones", "save_backbone", "join")
_RULES = ("vote", "mean")


def design_of(settings: dict[str, Any]) -> "Design":
    """The design that the options of `train` describe, on vectors that are not looked for yet."""
    from bccli.core.training.design import VECTORS, Design
    from bccli.core.vectors.given import GivenVectors

    _check(settings)
    output = settings["output"] or "softmax"
    design = Design(
        backbone=VECTORS,
        vectors=GivenVectors(settings["features"]),
        schedule=schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"]),
        **{**design_options({**settings, "augment": None}), "views": None, "augment_val": False},
    )
    if settings["head"] not in FUSIONS:
        head = head_of({**settings, "head": "gap"}, output=output)
        return replace(design, head=head, undecided=undecided_of(settings))
    return fusing_design(design, settings)


def _check(settings: dict[str, Any]) -> None:
    """Raises UsageError for options that vectors have no use for; a recipe may have any."""
    from bccli.core.training.design import ABOUT_IMAGES

    for name in (*ABOUT_IMAGES, *_ABOUT_BACKBONES):
        if name in settings and is_given(name, besides_recipe=True) and settings[name]:
            spelled = "backbone" if name == "backbones" else name.replace("_", "-")
            raise UsageError(
                f"--{spelled} is about images, and --features has vectors in their place; leave one out"
            )
    head = settings["head"]
    if head not in (None, "gap", *FUSIONS) and is_given("head", besides_recipe=True):
        raise UsageError(
            f"--head {head} is about the maps of a backbone, and --features has vectors; leave it out, or "
            f"name one of {', '.join(FUSIONS)} for the patches of slides"
        )
    if "bovw" in settings["classifiers"]:
        raise UsageError("--classifier bovw is about images, and --features has vectors; leave one out")
    _check_fusing(settings)


def _check_fusing(settings: dict[str, Any]) -> None:
    head, base = settings["head"], settings["features_from"]
    if head in FUSIONS and tuple(settings["classifiers"]) != ("dense",):
        raise UsageError(f"--classifier: --head {head} decides about slides by itself; leave one out")
    if base and head not in FUSIONS:
        raise UsageError(
            f"--features-from: with --features it names a run whose head answers for single patches, for "
            f"--head {' or '.join(_RULES)}; leave it out, or name one of them"
        )
    if head in _RULES and not base:
        raise UsageError(
            f"--head {head} asks what a head says of each patch; add --features-from RUN, a run that was "
            "trained on vectors of single patches, or take --head attention"
        )


def found_for(designs: "Sequence[Design]", dataset: "Dataset", screen: console.Console) -> "list[Design]":
    """The designs with their vectors found for a dataset, once for all of them. Raises DataError."""
    if not (given := designs[0].vectors):
        return [*designs]
    screen.note(f"reading vectors from {given.path}")
    found = given.on(dataset, screen)
    if found.found.of_slides and not designs[0].fuses:
        screen.note(
            f"{found.path} has the patches of each slide: their mean stands for it; --head attention weighs "
            "them"
        )
    return [replace(design, vectors=found) for design in designs]


def write_features(screen: console.Console, data: Path, out: Path, settings: dict[str, Any]) -> int:
    """Write the vectors of a dataset's images, unless they are written; the exit code."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.sweeps.grid import expand, join
    from bccli.core.training import design as designs
    from bccli.core.training.frozen.feature_export import export_features
    from bccli.options import training_design

    _check_export(out, settings)
    names = expand(settings["backbones"])
    if len(names) > 1 and not settings["join"]:
        raise UsageError(
            f"--features-only: one file has the vectors of one backbone, not of {len(names)}; name one, or "
            "add --join"
        )
    design = training_design.design_of({**settings, "classifiers": ["dense"]}, names[0])
    design = join(design, names) if settings["join"] else design
    share(screen, settings, data)
    dataset = load_dataset(data)
    if settings["dry_run"]:
        screen.note(f"{out}: vectors of {len(dataset.samples):,} images by {names[0]} would be written")
        return 0
    cache = settings["cache"] or designs.default_cache(dataset, out.parent)
    context = training_design.context_of(settings, screen)
    console.show_rows([export_features(design, dataset, out, context, cache)])
    return 0


def _check_export(out: Path, settings: dict[str, Any]) -> None:
    if out.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"--features-only {out}: writes HDF5; name a file such as {out.stem}.h5")
    for name in ("features", "features_from", "seeds", "shard"):
        if settings[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is about training, and --features-only ends before it; leave "
                "one out"
            )
