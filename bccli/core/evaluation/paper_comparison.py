"""The figures that a paper reports, beside those of a run of its recipe."""

from collections.abc import Mapping
from typing import Any

from bccli.core.evaluation.published import PAPERS, WATCHED, Model
from bccli.core.metrics.figures import Figures
from bccli.core.runs.run_info import RunInfo

_LAYERS = {("efficientnet-b0", "top_conv"): 234}
"""The number of a layer that a tree was given by its name."""


def beside(figures: Figures, info: RunInfo) -> list[dict[str, Any]] | None:
    """The paper's figures of what a run is by its run.json, with what was measured; None where it has none.

    A run of a paper's recipe that is another model, or another level or split of it, or of other data, has
    none.
    """
    fitting = [
        row
        for row in PAPERS.get(figures.recipe or "", ())
        if figures.split
        and row.split in ("", figures.split)
        and row.level == figures.level
        and (figures.watched_test or not row.measure.startswith(WATCHED))
        and is_of(row.model, info)
    ]
    return [
        {
            "measure": row.measure,
            "paper": row.value,
            "measured": _measured(figures, row.measure),
            "n": row.n,
            "where": row.where,
            "remark": row.remark,
        }
        for row in fitting
    ] or None


def is_of(model: Model, info: RunInfo) -> bool:
    """Whether a run, by its run.json, is the model of a paper."""
    settings = info.settings
    known: dict[str, tuple[Any, Any]] = {
        "backbone": (model.backbone, info.backbone),
        "kind": (model.kind, _kind(info)),
        "gamma": (model.gamma, _gamma(info.backbone, settings)),
        "trainable": (model.trainable, _trainable(model, settings)),
        "tree": (model.tree, settings.get("tree", "")),
        "head": (model.head, settings.get("head")),
        "output": (model.output, settings.get("output")),
        "dense": (model.dense, tuple(settings.get("dense") or ())),
        "layers": (model.layers, len(settings.get("dense") or ())),
        "dropout": (model.dropout, settings.get("dropout")),
    }
    unsaid = {name for name in ("dense", "layers", "dropout") if getattr(model, name) is None}
    return not settings.get("head_epochs") and all(
        wanted == found for name, (wanted, found) in known.items() if name not in unsaid
    )


def _kind(info: RunInfo) -> str:
    """The kind of model of a run; of folds, that of each of them. "" for a kind that no paper has."""
    settings = info.settings
    if any(key.startswith(("node ", "compose ")) for key in settings):
        return ""
    if settings.get("classifier", "dense") != "dense":
        return "classifier"
    if info.kind == "folds":
        return "fusion" if settings.get("features_from") else "network"
    return str(info.kind)


def _gamma(backbone: str, settings: Mapping[str, Any]) -> Any:
    """The layer from which a run was fine-tuned, as a number; trees have its name as it was given."""
    layer = settings.get("from_layer")
    if isinstance(layer, str):
        return int(layer) if layer.isdecimal() else _LAYERS.get((backbone, layer), layer)
    return layer


def _trainable(model: Model, settings: Mapping[str, Any]) -> Any:
    """Which layers learned from the start; only γ says it where a run goes on with another's network."""
    goes_on = settings.get("features_from") or (settings.get("from_layer") is not None and not model.tree)
    return model.trainable if goes_on else settings.get("trainable")


def _measured(figures: Figures, measure: str) -> Any:
    name, _, label = measure.partition(".")
    if name == WATCHED:
        return (figures.watched_test or {}).get(label)
    if name == "node":
        return ((figures.tree or {}).get("nodes", {}).get(label) or {}).get("accuracy")
    return (figures.per_class or {}).get(label, {}).get(name) if label else getattr(figures, name)
