"""Where the vectors of images come from that a head or a classifier is trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import ImageSource
from bccli.core.data.split_codes import split_codes_of
from bccli.core.files import write_text
from bccli.core.models.cards.card import Card
from bccli.core.models.cards.card_files import CardFiles, save_files
from bccli.core.models.cards.frozen_network import CardMaker, FrozenNetwork, open_network
from bccli.core.models.cards.of_run import card_of
from bccli.core.progress import Watcher
from bccli.core.runs.feature_store import StoredFeatures
from bccli.core.runs.run_folder import CARD_FILE, Run
from bccli.core.training.design import Job
from bccli.core.training.features import FeatureKey, compute_vectors
from bccli.core.vectors.contents import Rows

Computing = Callable[[ImageSource], Rows]


@dataclass(frozen=True)
class FeatureSource:
    """What makes vectors of images.

    `compute` makes them; `store` writes what more of them take into a run's folder and returns what run.json
    says of it, and `facts` are what it says whether that is written or not. It has so many `parameters`, None
    where nobody knows. `description` is for the start line.
    """

    compute: Computing
    store: Callable[[Path], dict[str, Any]]
    parameters: int | None
    description: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def card_source(card: Card, files: CardFiles, job: Job, device: str, watcher: Watcher) -> FeatureSource:
    """The source of a job whose backbone a card describes. Raises WeightsError where its file is not fit."""
    network = open_network(card, files, device)
    key = key_of_card(card, files, network)

    def store(root: Path) -> dict[str, Any]:
        if job.design.save_backbone:
            if not card.redistribute:
                watcher.warn(
                    f"{root}: holds a copy of {card.name}, which its card does not allow to be passed on "
                    f"({card.licence or 'no licence is named'}); remove it before you share the run"
                )
            save_files(files, root)
        return {}

    def compute(source: ImageSource) -> np.ndarray | StoredFeatures:
        return compute_vectors(source, CardMaker(network), key, job.cache, watcher=watcher)

    return FeatureSource(
        compute,
        store,
        None,
        f"{network.runtime.device}, {network.width} numbers of an image",
        {"card": {**files.to_json(), "width": network.width}},
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


def write_card(card: Card, root: Path) -> None:
    """Keep a card in a run's folder."""
    write_text(root / CARD_FILE, card.text)


def vectors_of_run(
    run: Run, images: ImageSource, cache: Path, device: str, watcher: Watcher
) -> np.ndarray | StoredFeatures:
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
