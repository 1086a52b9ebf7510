"""The start of a fusion: a patch run that is fit for it, its extractor and head, a design of the options."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bccli.core.catalog import find_backbone
from bccli.core.errors import DataError, UsageError
from bccli.core.fusion.methods import FUSIONS, Classified, Network
from bccli.core.models.cards.of_run import card_of
from bccli.core.models.dense.dense_head import DenseHead, head_of, load_head
from bccli.core.models.graph import extractor_and_head
from bccli.core.models.heads import Head
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import HEAD_FILE, MODEL_FILE, Run, folds_of, load_run, network_hash
from bccli.core.training.assembly import weights_hash
from bccli.core.training.design import Design, Fusing, Job
from bccli.core.training.features import FeatureKey, compute_features, frozen_key_of, key_of
from bccli.core.training.frozen.sources import FeatureSource, SourceData, source_of_run
from bccli.core.training.input_norm import norm_of
from bccli.core.training.run_contents import keep_extractor
from bccli.core.training.settings import Schedule
from bccli.core.weights.keras_files import load_model


def load_base(root: Path) -> tuple[Run, Fusing]:
    """The patch run in a folder, of a network or of one for each fold. Raises DataError where its features
    cannot be fused."""
    run = load_run(root)
    if run.info.kind_within not in ("network", "head"):
        raise DataError(
            f"{root}: is a run of kind {run.info.kind_within}, and --features-from takes a network; "
            "name a run that bccli train or finetune made of one network, or of all its folds"
        )
    if run.preparation.patches is None:
        raise DataError(
            f"{root}: was trained on whole images, and there is nothing to fuse; "
            "name a run that was trained on patches (bccli prepare --patch)"
        )
    return run, Fusing(root, network_hash(run))


def check_base(base: Run, job: Job, size: tuple[int, int], watcher: Watcher) -> None:
    """Raises DataError where the patch run cannot take a dataset's patches of `size` (width, height)."""
    data = job.dataset
    if data.preparation.patches is None:
        raise DataError(
            f"{data.root}: has whole images, and fusions are about patches; prepare it with --patch"
        )
    if data.classes != base.classes:
        raise DataError(
            f"{base.root}: knows the classes {', '.join(base.classes)}, and {data.root} has "
            f"{', '.join(data.classes)}; name a patch run of the same classes"
        )
    if size != tuple(base.info.size):
        wanted, found = "×".join(map(str, base.info.size)), "×".join(map(str, size))
        raise DataError(
            f"{data.root}: its patches are {found}, and {base.root} knows only {wanted}; prepare them alike"
        )
    if data.preparation != base.preparation:
        watcher.warn(f"{data.root}: was prepared otherwise than what {base.root} was trained on")


def backbone_of(base: Run) -> dict[str, Any]:
    """What a design says of the backbone of a patch run, or of its folds: its name, and its card or those
    that are joined."""
    first, *_ = folds_of(base)
    joined = tuple(
        (part["backbone"], card_of(first, number)[0] if part.get("card") else None)
        for number, part in enumerate(first.info.joined)
    )
    card = card_of(first)[0] if first.info.card else None
    return {"backbone": base.info.backbone, "card": card, "joined": joined}


@dataclass(frozen=True)
class PatchNetwork:
    """A patch run's network: where its features come from, the head on them, and the layers before the head
    as far as they are Keras's. Vectors from a file may have no head."""

    source: FeatureSource
    head: DenseHead | None
    layers: Sequence[Any] = ()


def load_patch_network(base: Run, job: Job, data: SourceData) -> PatchNetwork:
    """The network of a patch run. Raises DataError where its file is missing or damaged."""
    images, context = data.images, data.context
    if base.info.of_files:
        return PatchNetwork(source_of_run(base, job, data), load_head(base.file(HEAD_FILE)))
    extractor, head = extractor_and_head(load_model(base.file(MODEL_FILE)))
    # The features of a backbone that stayed as it was have been computed with the patch run.
    key = frozen_key_of(base) or _key_by_weights(base, extractor)
    extractor.trainable = False
    source = FeatureSource(
        lambda source: compute_features(source, extractor, key, job.cache, watcher=context.watcher),
        lambda root: keep_extractor(root, extractor, images, context.watcher),
        int(extractor.count_params()),
    )
    return PatchNetwork(source, head_of(head, base.info.settings["output"]), extractor.layers)


def _key_by_weights(base: Run, extractor: Any) -> FeatureKey:
    size = base.info.size[0], base.info.size[1]
    return key_of(
        find_backbone(base.info.backbone),
        weights_hash(extractor),
        size,
        head=base.info.settings["head"],
        norm=norm_of(base),
    )


def design_of(
    design: Design, name: str, *, dense: tuple[int, ...] | None = None, dropout: float | None = None
) -> Design:
    """The design with a row of `FUSIONS` as its head, and without what this row has no use for.

    So one recipe fits all of them. Raises UsageError where a network cannot have so many layers.
    """
    way, schedule = FUSIONS[name], design.schedule
    if isinstance(way, Network):
        sizes = dense or way.sizes
        if way.depth not in (None, len(sizes)):
            raise UsageError(f"--dense: {name} has {way.depth} layer, and {len(sizes)} are given; give one")
        head = Head(sizes, dropout or 0.0, schedule.output, name)
        return replace(design, head=head)
    plain = Schedule(seed=schedule.seed)
    if isinstance(way, Classified):
        plain = replace(plain, class_weights=schedule.class_weights)
    else:
        design = replace(design, augment=None, views=None)
    return replace(design, head=Head(kind=name), schedule=plain, augment_val=False, watch_test=False)
