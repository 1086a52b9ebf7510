"""The recipe that repeats a run: its settings as `--recipe` reads them."""

from pathlib import Path
from typing import Any

from bccli.core.augmentation import Policy, built_in
from bccli.core.files import to_toml
from bccli.core.training.design import ABOUT_IMAGES, DENSE, WORDS, Design
from bccli.core.training.setting_types import FEATURES, FUSION, NETWORK, TUNING, Target, ValueType
from bccli.core.training.setting_types import WORDS as BAG_OF_WORDS
from bccli.core.training.settings import SETTINGS
from bccli.core.weights.pretrained import Weights

# What the run that is fine-tuned decides, unless its head is made anew.
_OF_THE_HEAD = ("head", "dense", "dropout", "output")


def to_recipe(design: Design, weights: Weights, fold: int | str | None) -> str:
    """The [train] table that repeats a run, or [finetune] for one that came of another run."""
    values = recipe_values(design, weights, fold)
    if design.vectors:
        values = {"features": str(design.vectors.path.resolve()), **values}
    if design.fusing:
        return to_toml("train", {**values, "features-from": str(design.fusing.base.resolve())})
    if design.classifier != DENSE:
        return to_toml("train", {"classifier": design.classifier, **values})
    if not (tuning := design.tuning):
        return to_toml("train", values)
    if not tuning.fresh_head:
        values = {key: value for key, value in values.items() if key not in _OF_THE_HEAD}
    tuned = {"from-layer": [str(tuning.from_layer)], "train-batch-norm": tuning.train_batch_norm}
    return to_toml("finetune", values | tuned)


def recipe_values(design: Design, weights: Weights, fold: int | str | None) -> dict[str, Any]:
    """The options that a design came of, as a recipe spells them, without what is undecided.

    `fold` is a number, all, or None.
    """
    job = _job_of(design)
    values = {
        **design.values(weights),
        "weights": design.weights if design.from_files else _weights_choice(weights),
        "augment": _policy_choice(design.augment) if design.augment else None,
        "fold": fold,
    }
    has_backbone = job in (NETWORK, FEATURES) and not design.vectors
    backbone = _backbones(design) if has_backbone else {}
    rows = [row for row in SETTINGS if row.repeated and job in row.jobs and row.name not in design.undecided]
    if design.vectors:
        rows = [row for row in rows if row.name not in ABOUT_IMAGES]
    return {**backbone, **{row.spelling: _in_toml(row.type, values[row.name]) for row in rows}}


def _job_of(design: Design) -> str:
    """The kind of job that a design describes."""
    if design.fuses:
        return FUSION
    if design.tuning:
        return TUNING
    return {DENSE: NETWORK, WORDS: BAG_OF_WORDS}.get(design.classifier, FEATURES)


def _in_toml(kind: ValueType, value: Any) -> Any:
    """A value of a setting as a recipe has it."""
    if isinstance(kind, Target) and value:
        return "{}={}".format(*value)
    return list(value) if isinstance(value, tuple) else value


def _backbones(design: Design) -> dict[str, Any]:
    """--backbone as a recipe repeats it."""
    if design.joined:
        return {"backbone": [_backbone_choice(part) for part in design.parts], "join": True}
    return {"backbone": _backbone_choice(design)}


def _backbone_choice(design: Design) -> str:
    """One of --backbone as a recipe repeats it: a card by its full path, like `_weights_choice`."""
    if design.card is None or design.card.is_template:
        return design.backbone
    return str(design.card.path)


def _weights_choice(weights: Weights) -> str:
    """--weights as a recipe repeats it: a file by its full path, as recipes start from their own folder."""
    return weights.name if weights.name in ("imagenet", "none") else str(Path(weights.name).resolve())


def _policy_choice(policy: Policy) -> str:
    """--augment as a recipe repeats it, like `_weights_choice`."""
    return policy.name if policy.name in built_in() else str(Path(policy.name).resolve())
