"""Where a backbone's weights come from: Keras's cache, a file, or nowhere; nothing here asks a network."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bccli.core.catalog import Backbone
from bccli.core.errors import WeightsError
from bccli.core.files import file_hash
from bccli.core.weights.weight_files import check_file, load_file

# Where keras.applications publishes its weights.
BASE = "https://storage.googleapis.com"

_HASH = "#sha256="


@dataclass(frozen=True)
class Weights:
    """A choice of weights: `name` is imagenet, none or a path; `file` holds them, `hash` is its SHA-256."""

    name: str
    file: Path | None = None
    hash: str = ""


def find_weights(backbone: Backbone, choice: str) -> Weights:
    """Find the file of the weights before any data is read.

    `choice` is imagenet, none, or the path of a file; behind `#sha256=` follows the hash that it has to
    have before anything in it is looked at. Raises WeightsError where Keras has no ImageNet weights yet,
    naming how they are fetched, what the file is if it holds no weights, or where it is another one.
    """
    if choice == "none":
        return Weights("none")
    if choice == "imagenet":
        file = _imagenet_file(backbone)
    else:
        file = file_of(choice)
        if not file.is_file():
            raise WeightsError(f"--weights {choice}: no such file; name a file, imagenet or none")
    found = file_hash(file)
    _check_hash(file, found, choice.partition(_HASH)[2])
    _check_content(file, found, backbone.name)
    return Weights(str(choice), file, found)


@lru_cache(maxsize=64)
def _check_content(file: Path, content_hash: str, name: str) -> None:
    """As `check_file`, once for all members of a sweep as long as the content is the same; whoever loads the
    file looks again."""
    check_file(file, name)


def file_of(choice: str) -> Path:
    """The file of a choice that names one, with its hash or without."""
    return Path(choice.partition(_HASH)[0])


def _check_hash(file: Path, found: str, wanted: str) -> None:
    if wanted and found != wanted.lower():
        raise WeightsError(
            f"--weights {file}: has the SHA-256 {found} and not {wanted}; ask whoever gave you the file"
        )


def keras_home() -> Path:
    """Keras's folder, as Keras finds it."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def cached_file(backbone: Backbone) -> Path:
    """Where Keras keeps the ImageNet weights of a backbone that has some."""
    return keras_home() / "models" / (backbone.cached or backbone.weights.rpartition("/")[2])


def address(backbone: Backbone) -> str:
    """Where Keras publishes the ImageNet weights of a backbone that has some."""
    return f"{BASE}/{backbone.weights}"


def _imagenet_file(backbone: Backbone) -> Path:
    if not backbone.weights:
        raise WeightsError(f"{backbone.name} has no ImageNet weights; say --weights none or --weights FILE")
    file = cached_file(backbone)
    if not file.is_file():
        raise WeightsError(
            f"the ImageNet weights of {backbone.name} are not at {file}; where there is a network, run "
            f"bccli train --fetch-weights --backbone {backbone.name}, which takes them from "
            f"{address(backbone)}, or say --weights FILE or --weights none"
        )
    return file


def load_weights(network: Any, weights: Weights, name: str) -> None:
    """Put the weights of a file into the Keras model of the backbone `name`.

    Raises WeightsError where they do not belong to it.
    """
    if weights.file is not None:
        load_file(network, weights.file, name)
