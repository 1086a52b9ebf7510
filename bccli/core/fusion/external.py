"""A fusion on another prepared dataset, whose patches form its images."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from bccli.core import interruption
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import pixels_of
from bccli.core.errors import DataError
from bccli.core.evaluation.external import DatasetAnswers
from bccli.core.fusion.bags import group, position_of
from bccli.core.fusion.predictor import answers_of, fusions_of
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import ImagePatches, most_probable
from bccli.core.progress import Watcher


def answers_of_images(
    predictor: Predictor, dataset: Dataset, workers: int, watcher: Watcher
) -> DatasetAnswers:
    """Answers for the images of a dataset, the images as rows, and probabilities (patches, classes) of each
    patch by itself, in the order of the manifest.

    Raises DataError where the dataset has whole images, or a damaged file.
    """
    fusions, step, classes = fusions_of(predictor.members[0]), predictor.together, len(predictor.classes)
    if dataset.preparation.patches is None:
        raise DataError(
            f"{dataset.root}: has whole images, and a fusion is about patches; prepare with --patch"
        )
    samples = dataset.samples
    grouping = group(samples, np.zeros(len(samples)))
    fused = np.zeros((len(grouping.keys), classes))
    patches = np.zeros((len(samples), classes))

    def load(positions: Sequence[int]) -> ImagePatches:
        images = [pixels_of(dataset.root, samples[position]) for position in positions]
        return ImagePatches(np.stack(images), tuple(position_of(samples[position]) for position in positions))

    with (
        interruption.deferred(),
        watcher.track(len(samples), "patches") as advance,
        ThreadPoolExecutor(workers) as pool,
    ):
        for start in range(0, len(grouping.keys), step):
            images = range(start, min(start + step, len(grouping.keys)))
            members = [grouping.of(image) for image in images]
            entries = list(pool.map(load, members))
            for fusion in fusions:
                bags = fusion.bags(entries, as_is, step)
                fused[images.start : images.stop] += answers_of(fusion.fuser, bags) / len(fusions)
                for positions, bag in zip(members, bags, strict=True):
                    patches[positions] += bag.probabilities / len(fusions)
            advance(sum(map(len, members)))
            interruption.stop_if_requested()
    rows = [
        replace(samples[index], path=key, row=None, col=None)
        for key, index in zip(grouping.keys, grouping.first.tolist(), strict=True)
    ]
    return DatasetAnswers(most_probable(fused), rows, patches)
