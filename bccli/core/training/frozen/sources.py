"""Where the vectors of images come from that a head or a classifier is trained on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.catalog import find_backbone
from bccli.core.data.image_batches import Images, ImageSource
from bccli.core.data.sampling import spread
from bccli.core.data.split_codes import split_codes_of
from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.models.cards.card import Card
from bccli.core.models.cards.card_files import CardFiles, find_files, save_files
from bccli.core.models.cards.frozen_network import CardMaker, FrozenNetwork, open_network
from bccli.core.models.cards.of_run import card_of
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run, card_file, extractor_stem
from bccli.core.training.assembly import ModelCache, build
from bccli.core.training.design import Job, resolve
from bccli.core.training.features import FeatureKey, compute_features, compute_vectors, key_of
from bccli.core.training.network import RunContext, feature_key, input_norm
from bccli.core.training.run_contents import draw_network, keep_extractor
from bccli.core.vectors.contents import Rows
from bccli.core.weights.keras_files import load_model


@dataclass(frozen=True)
class FeatureSource:
    """What makes vectors of images.

    `compute` makes them; `store` writes what more of them take into a run's folder and returns what run.json
    says of it, and `facts` are what it says whether that is written or not. It has so many `parameters`, None
    where nobody knows. `description` is for the start line.
    """

    compute: Callable[[ImageSource], Any]
    store: Callable[[Path], dict[str, Any]]
    parameters: int | None
    description: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceData:
    """What sources are opened for: a run to be filled and the images of its job."""

    run: Run
    images: Images
    split_codes: np.ndarray
    context: RunContext
    models: ModelCache | None = None


def source_of(job: Job, data: SourceData) -> FeatureSource:
    """The source of a job: a file of vectors, its card, its frozen backbone, or all that are joined."""
    if job.design.joined:
        parts = [_job_of_part(job, number) for number in range(len(job.design.joined))]
        return joined([_source_of(part, data, number) for number, part in enumerate(parts)])
    return _source_of(job, data, None)


def _source_of(job: Job, data: SourceData, number: int | None) -> FeatureSource:
    if job.design.vectors:
        return vectors_source(job, data.run.root)
    if job.design.card:
        return card_source(job.design.card, find_files(job.design.card), job, data.context, number)
    return keras_source(job, data, number)


def _job_of_part(job: Job, number: int) -> Job:
    """The job of one of the backbones that are joined."""
    design, row, weights = resolve(job.design.parts[number])
    return Job(design, row, weights, job.dataset, job.split_codes, job.leaks, job.cache)


def keras_source(job: Job, data: SourceData, number: int | None = None) -> FeatureSource:
    """A frozen backbone of the table, the same that a network's head would be trained on."""
    import keras

    images, watcher = data.images, data.context.watcher
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(job.design.schedule.seed)
    norm = input_norm(job, images, data.split_codes)
    built = build(job, images.size, job.weights, norm, data.models)
    key = feature_key(job, images.size, norm, built, data.run)
    extractor = built.extractor

    def store(root: Path) -> dict[str, Any]:
        stored = keep_extractor(root, extractor, images, watcher, number)
        if number is None:
            draw_network(root, extractor.layers)
        return {**stored, "norm": asdict(norm) if norm and number is None else None}

    return FeatureSource(
        lambda source: compute_features(source, extractor, key, job.cache, watcher=watcher),
        store,
        int(extractor.count_params()),
        job.backbone.name,
        {"joined": [_part(job.backbone.name, job.weights_identity)]} if number is not None else {},
    )


def source_of_run(run: Run, job: Job, data: SourceData) -> FeatureSource:
    """The source of a run's features, whose backbone is a card or several that are joined, for another run.

    Raises DataError where a file of the run is damaged, WeightsError where that of a card is not there.
    """
    if run.info.card:
        return card_source(*card_of(run), job, data.context)
    parts = []
    for number, part in enumerate(run.info.joined):
        if part.get("card"):
            parts.append(card_source(*card_of(run, number), job, data.context, number))
        else:
            parts.append(_stored_source(run, number, job, data))
    return joined(parts)


def _stored_source(run: Run, number: int, job: Job, data: SourceData) -> FeatureSource:
    """One of the joined backbones of the table, as a run has stored it."""
    part, watcher = run.info.joined[number], data.context.watcher
    extractor = load_model(run.file(f"{extractor_stem(number)}.keras"))
    extractor.trainable = False
    row = find_backbone(part["backbone"])
    key = key_of(row, part["weights"], run.info.size, head=run.info.settings["head"])
    return FeatureSource(
        lambda source: compute_features(source, extractor, key, job.cache, watcher=watcher),
        lambda root: keep_extractor(root, extractor, data.images, watcher, number),
        int(extractor.count_params()),
        row.name,
        {"joined": [dict(part)]},
    )


def _part(backbone: str, weights: str) -> dict[str, Any]:
    """What run.json says of one of the backbones that are joined."""
    return {"backbone": backbone, "weights": weights}


def card_source(
    card: Card, files: CardFiles, job: Job, context: RunContext, number: int | None = None
) -> FeatureSource:
    """A network that a card describes. Raises WeightsError where its file is not fit."""
    network, watcher = open_network(card, files, context.device), context.watcher
    key = key_of_card(card, files, network)

    def store(root: Path) -> dict[str, Any]:
        write_text(root / card_file(number), card.text)
        if job.design.save_backbone:
            if not card.redistribute:
                watcher.warn(
                    f"{root}: holds a copy of {card.name}, which its card does not allow to be passed on "
                    f"({card.licence or 'no licence is named'}); remove it before you share the run"
                )
            save_files(files, root)
        return {}

    def compute(source: ImageSource) -> Rows:
        values = compute_vectors(source, CardMaker(network), key, job.cache, watcher=watcher)
        _refuse_same(values, card.name)
        return values

    told = {name: getattr(card, name) for name in ("licence", "pretrained_on", "source")}
    own = {**files.to_json(), "width": network.width, **{name: text for name, text in told.items() if text}}
    facts = {"card": own} if number is None else {"joined": [{**_part(card.name, key.weights), "card": own}]}
    described = f"{network.runtime.device}, {network.width} numbers of an image"
    return FeatureSource(compute, store, None, described, facts)


def _refuse_same(values: Rows, name: str) -> None:
    """Raises DataError where a network gives every image the same vector."""
    few = values[spread(np.arange(values.shape[0]), _FEW)]
    if len(few) > 1 and not np.ptp(few, axis=0).any():
        raise DataError(
            f"{name} gives every image the same vector; compare range, mean, std, layout and output of its "
            "card with the network"
        )


_FEW = 64
"""So many images show whether a network tells any apart."""


def joined(sources: Sequence[FeatureSource]) -> FeatureSource:
    """Several sources, whose vectors stand side by side."""

    def compute(source: ImageSource) -> Any:
        return side_by_side([one.compute(source) for one in sources])

    def store(root: Path) -> dict[str, Any]:
        stored = [one.store(root) for one in sources]
        exports = {name: made for one in stored for name, made in one.get("exports", {}).items()}
        return {"exports": exports} if exports else {}

    parameters = [one.parameters for one in sources]
    return FeatureSource(
        compute,
        store,
        None if None in parameters else sum(filter(None, parameters)),
        " and ".join(one.description for one in sources),
        {"joined": [part for one in sources for part in one.facts["joined"]]},
    )


def vectors_source(job: Job, root: Path) -> FeatureSource:
    """The source of a job whose vectors come from a file: nothing is computed, and nothing kept."""
    given, whole = job.design.vectors, split_codes_of(job.dataset, job.design.fold)
    assert given is not None
    used = np.flatnonzero(job.split_codes >= 0)
    means = ", the mean of each slide" if given.found.of_slides and not job.design.fuses else ""
    return FeatureSource(
        lambda images: given.values(used),
        lambda root: {},
        None,
        f"vectors of {given.width} numbers from {given.path}{means}",
        {"vectors": given.facts(root, whole)},
    )


@dataclass(frozen=True)
class JoinedRows:
    """Rows of several tables of vectors, side by side, read where they are asked for."""

    tables: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Images, and numbers of each."""
        return self.tables[0].shape[0], sum(table.shape[1] for table in self.tables)

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """The rows (positions, width) as float32."""
        return np.concatenate([table[positions] for table in self.tables], axis=1)


def side_by_side(tables: Sequence[Rows]) -> Any:
    """Tables (images, width) as one: in memory where all are."""
    if all(isinstance(table, np.ndarray) for table in tables):
        return np.concatenate([np.asarray(table) for table in tables], axis=1)
    return JoinedRows(tuple(tables))


def vectors_of_run(run: Run, images: ImageSource, cache: Path, device: str, watcher: Watcher) -> Rows:
    """The vectors (images, width) that the card of a run makes of prepared images, kept in `cache`."""
    card, files = card_of(run)
    network = open_network(card, files, device)
    return compute_vectors(
        images, CardMaker(network), key_of_card(card, files, network), cache, watcher=watcher
    )


def key_of_card(card: Card, files: CardFiles, network: FrozenNetwork) -> FeatureKey:
    """The key under which a card's features are stored."""
    runtime, identity = network.runtime, card.identity(files.hashes)
    device = "cpu" if "CPU" in runtime.device else "gpu"
    return FeatureKey(card.name, identity, "card", card.size, device=device, engine=runtime.engine)
