"""From a run to a fine-tuned run: which layers learn, on which data, and whether test is new to both.

Falconí et al. 2020, DOI 10.25046/aj050220, sections 2.3, 4.3.3 and 5.3.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bccli.core.catalog import find_backbone, nearest
from bccli.core.data.dataset import Dataset, load_dataset
from bccli.core.data.node_subset import dataset_of_node
from bccli.core.errors import DataError, UsageError
from bccli.core.models import backend
from bccli.core.models.backbones import build_backbone
from bccli.core.models.extractors import block_outputs
from bccli.core.models.graph import operation_of
from bccli.core.models.heads import Head
from bccli.core.runs.run_folder import Run, load_run, network_hash
from bccli.core.training.design import Design, Tuning
from bccli.core.training.input_norm import norm_of
from bccli.core.weights.pretrained import Weights


def load_base(root: Path) -> Run:
    """The run to start from, of a network or of one for each fold. Raises DataError where it has none."""
    run = load_run(root)
    if not can_be_tuned(run):
        kind = run.info.kind_within
        if run.info.of_files:
            raise DataError(
                f"{root}: rests on {run.info.backbone}, which stays as it is; name a run whose backbone is "
                "one of bccli train --list-backbones"
            )
        if kind == "detector":
            raise DataError(
                f"{root}: is a detector, and finetune trains classifiers; train another one with bccli train "
                "--head detector --trainable all"
            )
        raise DataError(f"{root}: is a {kind} without a backbone to train; name a network's run")
    return run


def data_root(base: Run, given: Path | None) -> Path | None:
    """Where the data to train on lies: what was `given`, else that of the base run, None for none."""
    known = base.info.data.path
    return given or ((base.root / known).resolve() if known else None)


def can_be_tuned(run: Run) -> bool:
    """Whether a run has a network, or one for each fold, whose backbone can be trained further."""
    return run.info.kind_within == "network"


def data_of(base: Run, given: Path | None) -> Dataset:
    """The data to train on: what was `given`, else that of the base run.

    Of a run that is the node of a tree, it is what belongs under the node. Raises DataError where there is
    none, where it has changed, or has other classes than the run.
    """
    subset = base.info.data.subset
    if given is None:
        root = data_root(base, None)
        if root is None or not root.is_dir():
            where = f"is not at {root} any more" if root else "is not named in run.json"
            raise DataError(f"{base.root}: the data it was trained on {where}; say --data DATA")
        dataset = dataset_of_node(load_dataset(root), subset)
        if dataset.hash != base.info.data.hash:
            raise DataError(
                f"{root}: has changed since {base.root} was trained on it; name it with --data if you mean it"
            )
        return dataset
    dataset = load_dataset(given)
    if dataset.classes != base.classes:
        dataset = dataset_of_node(dataset, subset)
    if dataset.classes != base.classes:
        raise DataError(
            f"{given}: has the classes {', '.join(dataset.classes)}, and {base.root} knows "
            f"{', '.join(base.classes)}; prepare it with the same ones"
        )
    return dataset


def find_layers(
    base: Run,
    *,
    layers: Sequence[str],
    blocks: int | None,
    whole: bool,
    device: str,
    deterministic: bool = True,
    verbose: bool,
) -> list[int]:
    """The γ of each layer, given by number or name; of the first layer of the last `blocks`; or 0.

    Raises UsageError unless one of the three is given, and for layers that the backbone has not.
    """
    if (bool(layers), blocks is not None, whole).count(True) != 1:
        raise UsageError("say what is to learn: --from-layer GAMMA, --blocks N or --all, one of them")
    row = find_backbone(base.info.backbone)
    numbers = [int(text) if text.lstrip("-").isdecimal() else None for text in layers]
    for number in numbers:
        if number is not None and not 0 <= number < row.layers:
            raise UsageError(
                f"--from-layer {number}: {row.name} has the layers 0 … {row.layers - 1}; choose one of them"
            )
    if whole or (layers and None not in numbers):
        return [number for number in numbers if number is not None] or [0]
    backend.start(device, deterministic=deterministic, verbose=verbose)
    import keras

    keras.backend.clear_session()  # or layers without names of their own would have others than in the run
    size = base.info.size
    network = build_backbone(row, size, Weights("none"))
    if blocks is not None:
        return [_first_of_last_blocks(network, blocks)]
    names = [layer.name for layer in network.layers]
    found = []
    for text, number in zip(layers, numbers, strict=True):
        if number is None and text not in names:
            raise UsageError(
                f"--from-layer {text}: {row.name} has no such layer{nearest(text, names)}; "
                f"its layers are {names[0]} (0) … {names[-1]} ({len(names) - 1})"
            )
        found.append(names.index(text) if number is None else number)
    return found


def _first_of_last_blocks(network: Any, blocks: int) -> int:
    """The number of the layer behind the one in which the block before the last `blocks` ends."""
    ends = block_outputs(network)
    if not 1 <= blocks <= len(ends):
        raise UsageError(f"--blocks {blocks}: {network.name} has {len(ends)} blocks; --all takes all of them")
    if blocks == len(ends):
        return 0
    numbers = {id(layer): number for number, layer in enumerate(network.layers)}
    return numbers[id(operation_of(ends[-blocks - 1]))] + 1


def design_of(
    base: Run, design: Design, from_layer: int, *, head: Head | None, train_batch_norm: bool
) -> Design:
    """The design of a fine-tuning: `design` with the base's network, and its head unless one is given, which
    is a fresh one even if it is alike. A head that is kept keeps the statistics of its features, too."""
    settings = base.info.settings
    own = Head(
        tuple(settings["dense"]),
        settings["dropout"],
        settings["output"],
        settings.get("head", "gap"),
        settings.get("feature_norm") == "train",
        settings.get("context", 0.0),
    )
    tuning = Tuning(
        base=base.root,
        base_hash=network_hash(base),
        from_layer=from_layer,
        fresh_head=head is not None,
        train_batch_norm=train_batch_norm,
        norm=norm_of(base),
    )
    return replace(
        design,
        backbone=base.info.backbone,
        head=head or own,
        input_norm=settings.get("input_norm", "backbone"),
        tuning=tuning,
    )
