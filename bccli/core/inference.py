"""What `predict` runs on: a run's network, and raw images prepared exactly as its training images were."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.datasets.walking import image_files
from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.decoding import decode
from bccli.core.imaging.preparation import Preparation, prepare_image
from bccli.core.models import backend
from bccli.core.runs import load_run


@dataclass(frozen=True)
class Prediction:
    """One image's answer: probabilities (classes,) or the reason why there is none."""

    path: str
    probabilities: np.ndarray | None
    error: str = ""


@dataclass(frozen=True)
class Predictor:
    """One or several networks of the same classes; several are averaged. `device` is in words."""

    classes: tuple[str, ...]
    preparation: Preparation
    size: tuple[int, int]
    networks: tuple[Any, ...]
    device: str

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (n, classes) of prepared images uint8 (n, height, width, 3)."""
        return np.mean([network(images) for network in self.networks], axis=0)


def load_predictor(root: Path, *, device: str = "auto", verbose: bool = False) -> Predictor:
    """Load the network of a run, or the networks of its folds. Raises DataError for a run without any."""
    run = load_run(root)
    members = [load_run(root / name) for name in run.info.get("parts", [])] or [run]
    files = [member.part("model.keras") for member in members]
    tf = backend.start(device, verbose=verbose)
    width, height = run.info["size"]
    networks = tuple(_load(file) for file in files)
    return Predictor(run.classes, run.preparation, (width, height), networks, backend.describe_device(tf))


def _load(file: Path) -> Any:
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(file, compile=False, safe_mode=True)
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    step = tf.function(lambda x: network(x, training=False), input_signature=[signature], autograph=False)
    return lambda images: step(tf.cast(images, tf.float32)).numpy()


def find_images(inputs: Iterable[str]) -> Iterator[str]:
    """Yield the images that the inputs name: files as they are, folders with all below them."""
    for name in inputs:
        if os.path.isdir(name):
            yield from (str(Path(name, image)) for image in image_files(Path(name)))
        else:
            yield name


def predict(
    predictor: Predictor, paths: Iterable[str], *, batch_size: int = 32, workers: int = 2
) -> Iterator[Prediction]:
    """Yield an answer per path, in order; images are decoded ahead in threads.

    A signal is honoured between two batches: in the midst of TensorFlow it would break what it hits.
    """
    waiting: deque[Future[tuple[str, np.ndarray | None, str]]] = deque()
    names = iter(paths)
    with interruption.deferred(), ThreadPoolExecutor(workers) as pool:
        while True:
            interruption.stop_if_requested()
            for name in islice(names, 2 * batch_size - len(waiting)):
                waiting.append(pool.submit(_prepare, predictor, name))
            if not waiting:
                return
            batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
            yield from _answer(predictor, batch)


def _prepare(predictor: Predictor, name: str) -> tuple[str, np.ndarray | None, str]:
    try:
        image = prepare_image(decode(name), predictor.preparation)
    except ImageError as error:
        return name, None, str(error)
    if image.shape[1::-1] != predictor.size:
        wanted = "×".join(map(str, predictor.size))
        return name, None, f"is {image.shape[1]}×{image.shape[0]}, and the run knows only {wanted}"
    return name, image, ""


def _answer(
    predictor: Predictor, batch: Sequence[tuple[str, np.ndarray | None, str]]
) -> Iterator[Prediction]:
    images = [image for _, image, _ in batch if image is not None]
    answers = iter(predictor.probabilities(np.stack(images)) if images else ())
    for name, image, error in batch:
        yield Prediction(name, None if image is None else next(answers), error)


def to_rows(
    answers: Iterable[Prediction], classes: Sequence[str], top: int | None
) -> Iterator[dict[str, Any]]:
    """Answers as rows of the contract; with `top`, the most probable classes by rank instead of all."""
    for answer in answers:
        values = answer.probabilities
        order = [] if values is None else np.argsort(-values, kind="stable").tolist()
        row: dict[str, Any] = {
            "path": answer.path,
            "predicted": classes[order[0]] if order else None,
            "probability": float(values[order[0]]) if values is not None else None,
        }
        if top is None:
            row |= {
                f"p_{name}": None if values is None else float(values[k]) for k, name in enumerate(classes)
            }
        else:
            for rank in range(1, min(top, len(classes))):
                name, value = (
                    (classes[order[rank]], float(values[order[rank]])) if values is not None else (None, None)
                )
                row |= {f"predicted_{rank + 1}": name, f"probability_{rank + 1}": value}
        yield {**row, "error": answer.error or None}


def names_from(text: str, *, null: bool) -> list[str]:
    """Paths from standard input, one a line or separated by NUL. Raises DataError where there is none."""
    lines = text.split("\0") if null else (line.removesuffix("\r") for line in text.split("\n"))
    names = [name for name in lines if name]
    if not names:
        raise DataError("standard input names no images; pipe paths into it, one a line")
    return names
