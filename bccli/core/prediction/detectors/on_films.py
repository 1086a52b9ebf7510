"""A detector on the films of a prepared dataset, whose masks mark the lesions."""

from collections.abc import Iterator

import numpy as np

from bccli.core import interruption
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Images, open_images
from bccli.core.prediction.detectors.boxes_file import Detected
from bccli.core.prediction.detectors.film_tiles import Heated, detected_in, rims_of_samples, without_rims
from bccli.core.prediction.detectors.heat_maps import scores_of
from bccli.core.prediction.detectors.predictor import DetectorPredictor
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import ImagePatches, Prediction, most_probable
from bccli.core.progress import Watcher


def find_in_films(
    predictor: Predictor, dataset: Dataset, watcher: Watcher
) -> tuple[Prediction, tuple[Detected, ...]]:
    """The answers of the only detector of a predictor, and what it finds in each image, or in each film that
    the images are tiles of, as one of no split.

    Raises DataError for a damaged file, or a mask that marks no place.
    """
    (detector,) = predictor.members
    assert isinstance(detector, DetectorPredictor)
    images = open_images(dataset.root, dataset.samples, watcher)
    probabilities, heats = [], list[Heated]()
    rims = rims_of_samples(images.samples, dataset.preparation, detector.grid.cells)
    with interruption.deferred(), watcher.track(len(images.samples), "images") as advance:
        for found in _maps(detector, images, predictor.together):
            maps = without_rims(found, rims[len(heats) : len(heats) + len(found)])
            probabilities.append(scores_of(maps))
            heats += [Heated(images.samples[len(heats) + k], "", heat) for k, heat in enumerate(maps)]
            advance(len(maps))
            interruption.stop_if_requested()
    detected = detected_in(images, detector.grid, dataset.preparation, heats)
    return most_probable(np.concatenate(probabilities)), tuple(detected)


def _maps(detector: DetectorPredictor, images: Images, step: int) -> Iterator[np.ndarray]:
    """Yield the maps (n, rows, columns) of all images, batch by batch."""
    for batch in images.arrays(np.arange(len(images.samples)), step):
        yield detector.maps([ImagePatches(image[None], (None,)) for image in batch], (as_is,), step)
