"""What core makes of the training options: a design, a schedule, a head, and where a run is made."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bccli.core.errors import UsageError
from bccli.core.training.setting_types import FEATURES, FUSION, NETWORK, WORDS
from bccli.core.training.settings import AUTO, OPTIMIZERS, SETTINGS, Schedule, rows_of
from bccli.options.training import FUSIONS
from bccli.recipes import built_in, is_given, left_to_recipe, value_in_recipe
from bccli.terminal.console import Console, show_rows


def schedule_of(settings: dict[str, Any], *, output: str, loss: str | None, lr: float | None) -> Schedule:
    """The schedule that the options describe; one of another command has its default."""
    from bccli.core.models.heads import DEFAULT_LOSS
    from bccli.core.training.learning_rate import DECAY, DECAY_EPOCHS, SCHEDULES

    known = {row.name: settings[row.name] for row in rows_of(Schedule) if row.name in settings}
    given = {name: value for name, value in known.items() if value is not None and value != AUTO}
    decays = SCHEDULES[given.get("schedule", Schedule().schedule)].decays
    inferred = {
        "output": output,
        "loss": loss or DEFAULT_LOSS[output],
        "lr": lr or OPTIMIZERS[settings["optimizer"]][1],
        "decay": settings["decay"] or (DECAY if decays else None),
        "decay_epochs": settings["decay_epochs"] or (DECAY_EPOCHS if decays else None),
    }
    return Schedule(**{**given, **inferred})


def undecided_of(settings: dict[str, Any]) -> frozenset[str]:
    """The settings of the schedule that nobody has decided, and that may suit the head."""
    names = "lr", "schedule", "decay", "decay_epochs", "monitor", "steps_per_epoch", "weight_decay"
    return frozenset(name for name in names if settings[name] in (None, AUTO))


def head_of(settings: dict[str, Any], *, output: str) -> Any:
    """The head that the options describe."""
    from bccli.core.models.heads import HEADS, Head

    name = settings["head"] or next(iter(HEADS))
    kind = HEADS[name]
    return Head(
        dense=kind.dense if settings["dense"] is None else settings["dense"],
        dropout=kind.dropout if settings["dropout"] is None else settings["dropout"],
        output=output,
        kind=name,
        standardised=_STANDARDISED[settings.get("feature_norm", "none")],
    )


_STANDARDISED = {AUTO: None, "none": False, "train": True}


def _useless_for(*jobs: str) -> list[str]:
    """The settings of `train` that none of the jobs has a use for."""
    return [row.name for row in SETTINGS if NETWORK in row.jobs and row.jobs.isdisjoint(jobs)]


def fusion_design(settings: dict[str, Any]) -> Any:
    """The design of a fusion that the options of `train` describe.

    Options that a way has no use for are passed over, so that one recipe fits all ways: rules learn
    nothing, and classifiers have no epochs.
    """
    from bccli.core.fusion.patch_run import backbone_of, design_of, load_base
    from bccli.core.training.design import Design

    name = settings["head"] or FUSIONS[0]
    about_images = "backbones", "classifiers", *_useless_for(FUSION), *(() if name in FUSIONS else ("head",))
    for option in about_images:
        if is_given(option):
            choice = f" {name}" if option == "head" else ""
            other = f" or name one of {', '.join(FUSIONS)}" if choice else ""
            raise UsageError(
                f"--{_spelled(option)}{choice} is about images, and --features-from takes features of "
                f"patches from a run; leave one out{other}"
            )
    if settings["augment"] and not settings["views"]:
        raise UsageError(
            "--augment: with --features-from, features are computed once; add --views N for those of N "
            "augmented copies of each image"
        )
    settings = _for_head(name, settings)
    base, fusing = load_base(settings["features_from"])
    output = settings["output"] or "softmax"
    schedule = schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"])
    design = Design(
        **backbone_of(base),
        save_backbone=settings["save_backbone"],
        fusing=fusing,
        schedule=schedule,
        **design_options(settings),
    )
    return design_of(design, name, dense=settings["dense"], dropout=settings["dropout"])


def fusing_design(design: Any, settings: dict[str, Any]) -> Any:
    """A design on vectors as that of a fusion: by the head that is named, with the head of a patch run or
    without."""
    from bccli.core.fusion.patch_run import design_of, load_base

    name = settings["head"]
    settings = _for_head(name, settings)
    if settings["features_from"]:
        design = replace(design, fusing=load_base(settings["features_from"])[1])
    return design_of(design, name, dense=settings["dense"], dropout=settings["dropout"])


def _for_head(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a fusion without those that a recipe has for another head than the one that is named.

    Layers are those of its own head, and augmented copies are for a network, which takes one of an image at a
    time: a classifier would hold them all.
    """
    from bccli.core.fusion import methods

    if value_in_recipe("head") in (None, name):
        return settings
    dropped = {"dense"} if left_to_recipe("dense") else set()
    if (
        not isinstance(methods.FUSIONS[name], methods.Network)
        and left_to_recipe("augment")
        and left_to_recipe("views")
    ):
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
        "watch_test": settings["watch_test"],
    }


def design_of(settings: dict[str, Any], backbone: str) -> Any:
    """The design that the options of `train` describe."""
    from bccli.core.models.cards.card import find_card, is_card
    from bccli.core.training.design import Design

    if settings["head"] in FUSIONS:
        raise UsageError(
            f"--head {settings['head']} is about the patches of an image; add --features-from RUN, a run "
            "that was trained on patches"
        )
    if "classifiers" in settings:
        _check_classifiers(settings["classifiers"])
    output = settings["output"] or "softmax"
    card = find_card(backbone) if is_card(backbone) else None
    return Design(
        backbone=card.name if card else backbone,
        card=card,
        save_backbone=settings["save_backbone"],
        weights=_unless_auto(settings["weights"]),
        trainable=_unless_auto(settings["trainable"]),
        input_norm=settings["input_norm"],
        head=head_of(settings, output=output),
        schedule=schedule_of(settings, output=output, loss=settings["loss"], lr=settings["lr"]),
        undecided=undecided_of(settings),
        **design_options(settings),
    )


def _unless_auto(choice: str) -> str | None:
    return None if choice == AUTO else choice


def _check_classifiers(classifiers: Sequence[str]) -> None:
    """Raises UsageError for an option that no classifier has a use for; a recipe may have any."""
    jobs = {_JOBS.get(name, FEATURES) for name in classifiers}
    for option in (*(("backbones",) if jobs == {WORDS} else ()), *_useless_for(*jobs)):
        if is_given(option, besides_recipe=True):
            more = "dense" if option in _useless_for(FEATURES, WORDS) else "svm"
            raise UsageError(
                f"--{_spelled(option)}: --classifier {' and '.join(classifiers)} has no use for it; leave it "
                f"out, or add --classifier {more}"
            )


# The job of each classifier that is not fitted to features of a backbone.
_JOBS = {"dense": NETWORK, "bovw": WORDS}


def _spelled(option: str) -> str:
    return {"backbones": "backbone", "classifiers": "classifier"}.get(option, option.replace("_", "-"))


def context_of(settings: dict[str, Any], screen: Console) -> Any:
    """Where and how a run is made."""
    from bccli.core.cores import available_cores
    from bccli.core.runs.shard import Shard
    from bccli.core.training.network import RunContext
    from bccli.core.training.parallel.choice import Strategy

    strategy = Strategy.of(settings["strategy"], settings["devices"], os.environ)
    screen.quiet = screen.quiet or not strategy.leads
    return RunContext(
        log=screen.logging,
        watcher=screen,
        device=settings["device"],
        deterministic=settings["deterministic"],
        tf32=settings["tf32"],
        workers=settings["workers"] or available_cores(),
        verbose=screen.verbose,
        overwrite=settings["overwrite"],
        recipe=built_in(settings["recipe"]),
        tensorboard=settings["tensorboard"],
        shard=Shard(*settings["shard"] or (1, 1)),
        strategy=strategy,
    )


def show_members(
    screen: Console, members: Mapping[str, Any], dataset: Any, *, folds: bool, skip_bad: bool
) -> int:
    """Show what would be trained by each design, a row per member and fold; the exit code."""
    from bccli.core.sweeps.preview import preview_members

    rows = preview_members(members, dataset, folds=folds, watcher=screen)
    show_rows(rows)
    failing = list(dict.fromkeys(row["name"] for row in rows if row["problem"]))
    if failing:
        screen.warn(f"{len(failing)} of {len(members)} members would fail: {', '.join(failing)}")
    return 4 if failing and not skip_bad else 0
