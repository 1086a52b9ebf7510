"""The frozen network of a run that a card describes, and a head on it: what `predict` needs."""

from functools import lru_cache

import numpy as np

from bccli.core.errors import DataError
from bccli.core.models.cards.card import Card, read_card
from bccli.core.models.cards.card_files import CardFiles, find_again
from bccli.core.models.cards.frozen_network import FrozenNetwork, Remembering, open_network
from bccli.core.models.dense.dense_head import load_head
from bccli.core.models.runtimes import Engine, Network
from bccli.core.runs.run_folder import EXTRACTOR, HEAD_FILE, Run, card_file, extractor_stem


def load_headed(run: Run, engine: Engine) -> Network:
    """The function from prepared images uint8 (n, height, width, 3) to class probabilities (n, classes).

    Raises DataError where a file of the run is damaged, WeightsError where its network is not there.
    """
    head, features = load_head(run.file(HEAD_FILE)), engine.outputs(run, EXTRACTOR)

    def headed(images: np.ndarray) -> np.ndarray:
        return head(features(images))

    return headed


def extractor_of(run: Run, engine: Engine) -> Network:
    """What makes features (n, width) of prepared images, of a run on a card or on joined backbones."""
    if not run.info.joined:
        return network_of(run, engine.choice)
    parts = [
        network_of(run, engine.choice, number)
        if part.get("card")
        else engine.outputs(run, extractor_stem(number))
        for number, part in enumerate(run.info.joined)
    ]
    # LiteRT may give out memory that it writes to again; joining copies it.
    return lambda images: np.concatenate([part(images) for part in parts], axis=1)


def network_of(run: Run, device: str = "auto", number: int | None = None) -> Remembering:
    """The network of a run's card, or of one of several, one for all runs in the process that have the
    same."""
    card, files = card_of(run, number)
    return _remembering(open_network(card, files, device))


@lru_cache(maxsize=4)
def _remembering(network: FrozenNetwork) -> Remembering:
    return Remembering(network)


def card_of(run: Run, number: int | None = None) -> tuple[Card, CardFiles]:
    """The card in a run's folder, or one of several, and its files. Raises DataError, WeightsError."""
    facts = run.info.card if number is None else run.info.joined[number].get("card")
    if facts is None:
        raise DataError(f"{run.root}: names no card; copy the whole folder again")
    return read_card(run.file(card_file(number))), find_again(run, facts)
