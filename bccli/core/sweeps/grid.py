"""Several backbones and seeds in one `train`: runs side by side that share images, features and audits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from bccli.core.catalog import SETS, find_backbone
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Opener
from bccli.core.errors import UsageError
from bccli.core.models.cards.card import Card, find_card, is_card, templates
from bccli.core.runs.run_folder import MOST_JOINED, Run
from bccli.core.sweeps.cross_validation import check_folds, train_folds, units_of_folds
from bccli.core.sweeps.sharing import AtWork
from bccli.core.sweeps.sweep import Member, Rules, Sweep, run_sweep
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import DENSE, NO_BACKBONE, WORDS, Design, default_cache
from bccli.core.training.network import RunContext, train
from bccli.core.training.plots import draw
from bccli.core.weights.pretrained import Weights
from bccli.core.workers import Team

# What members of one sweep may differ in.
_OWN = ("backbone", "weights_hash", "seed", "classifier")


def expand(names: Iterable[str]) -> list[str]:
    """The backbones that names and sets of names stand for, each once. Raises UsageError for unknown ones."""
    found = [one for name in names for one in SETS.get(name, (name,))]
    return list(
        dict.fromkeys(name if is_card(name) else find_backbone(name, templates()).name for name in found)
    )


def grid(
    design: Design, backbones: Sequence[str], seeds: int | None, classifiers: Sequence[str] = (DENSE,)
) -> list[Design]:
    """A design for each backbone, classifier and one of so many seeds, from the design's own on.

    A bag of visual words needs no backbone, and is there once for each seed.
    """
    first = design.schedule.seed
    if design.weights not in (None, "imagenet", "none") and len(backbones) > 1:
        raise UsageError(
            f"--weights {design.weights}: one file cannot fit {len(backbones)} backbones; "
            "say imagenet or none, or name one backbone"
        )
    cards = (
        {}
        if design.fusing or design.joined or design.vectors
        else {name: find_card(name) for name in backbones if is_card(name)}
    )
    _check_names(backbones, cards)
    pairs = [*product(backbones, (one for one in dict.fromkeys(classifiers) if one != WORDS))]
    pairs += [(NO_BACKBONE.name, WORDS)] if WORDS in classifiers else []
    return [
        replace(
            _with_backbone(design, name, cards.get(name)),
            classifier=classifier,
            schedule=replace(design.schedule, seed=seed),
        )
        for (name, classifier), seed in product(pairs, range(first, first + (seeds or 1)))
    ]


def join(design: Design, backbones: Sequence[str]) -> Design:
    """The design of one head on several backbones. Raises UsageError for one backbone, or too many."""
    if not 2 <= len(backbones) <= MOST_JOINED:
        raise UsageError(
            f"--join joins the vectors of 2 to {MOST_JOINED} backbones, and {len(backbones)} are named; "
            "name more of --backbone, or leave it out"
        )
    if design.weights not in (None, "imagenet", "none"):
        raise UsageError(
            f"--weights {design.weights}: one file cannot fit {len(backbones)} backbones; leave it out"
        )
    cards = {name: find_card(name) for name in backbones if is_card(name)}
    _check_names(backbones, cards)
    parts = tuple((cards[name].name if name in cards else name, cards.get(name)) for name in backbones)
    return replace(design, backbone="+".join(name for name, _ in parts), card=None, joined=parts)


def _with_backbone(design: Design, name: str, card: Card | None) -> Design:
    if design.fusing or design.joined or design.vectors:
        return design
    return replace(design, backbone=card.name if card else name, card=card)


def _check_names(backbones: Sequence[str], cards: Mapping[str, Card]) -> None:
    """Raises UsageError where two cards have one name, by which members are told apart."""
    names = [cards[name].name if name in cards else name for name in backbones]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--backbone: two are called {name!r}; give one of the cards another name")


def train_grid(
    designs: Sequence[Design],
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    folds: bool = False,
    seeded: bool = False,
    cache: Path | None = None,
    keep_all: bool = True,
) -> Sweep | AtWork:
    """Train each design in `root/NAME`, or with `folds` all folds of each, and compare them.

    Members of earlier calls with the same settings stay. Raises what `sweep.run_sweep` raises.
    """
    for design in designs if folds else ():
        check_folds(design, dataset)
    cache = cache or default_cache(dataset, root)
    plot_pool, models = Team(draw, 1), ModelCache()
    inside = replace(context.inner, open_images=Opener(), plot_pool=plot_pool)

    def member(design: Design) -> Member:
        def make(folder: Path, save_network: bool) -> Run:
            own = replace(inside, save_network=save_network)
            return (train_folds if folds else train)(design, dataset, folder, own, cache=cache, models=models)

        facts = {
            "backbone": design.backbone,
            "classifier": design.classifier,
            "seed": design.schedule.seed,
        }
        name, own = name_of(design, seeded=seeded), replace(inside, save_network=keep_all)
        units = partial(units_of_folds, name, design, dataset, own, cache=cache, models=models)
        return Member(name, facts, make, name_of(design, seeded=False), units if folds else tuple)

    with plot_pool:
        return run_sweep(
            root,
            [member(design) for design in designs],
            _settings(designs[0], dataset, folds),
            Rules(keep_all=keep_all, recipe=context.recipe),
            context,
            extendable=designs[0].schedule.extendable,
        )


def name_of(design: Design, *, seeded: bool) -> str:
    """The name of a member's folder: what it is, whatever else is in the sweep."""
    if design.fuses:
        names = [design.head.kind]
    elif design.classifier == DENSE:
        names = [design.backbone]
    else:
        names = [design.classifier] if design.classifier == WORDS else [design.backbone, design.classifier]
    return "-".join([*names, *([f"seed{design.schedule.seed}"] if seeded else [])])


def _settings(design: Design, dataset: Dataset, folds: bool) -> dict[str, Any]:
    """The settings that all members share, and by which a sweep is recognised."""
    shared = design.to_json(Weights(design.weights or "default"))
    shared = {key: value for key, value in shared.items() if key not in _OWN}
    return {"command": "train", "data": dataset.hash, **shared, "fold": "all" if folds else design.fold}
