"""The data of a fusion: the images of a job as bags of patches, with the features of a patch run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bccli.core.data.image_batches import Images, ImageSource
from bccli.core.data.manifest import Sample
from bccli.core.data.split_codes import TRAIN
from bccli.core.fusion.bags import Bag, Grouping, position_of
from bccli.core.fusion.inputs import BagInputs
from bccli.core.fusion.methods import Geometry
from bccli.core.fusion.patch_run import PatchNetwork
from bccli.core.training.design import Job
from bccli.core.training.live_augmentation import with_augmented_copies
from bccli.core.training.network import RunContext
from bccli.core.vectors.contents import Rows


@dataclass(frozen=True)
class FusionData:
    """The images of a job as bags: a row for each in `images`, with `split_codes` and `labels` (images,).

    `positions` says of an image where its patches lie (patches, 2), row and column in pixels, in their order
    in its bag. `patches` are rows of all patches, whose answers are kept; None where nobody answers for
    single ones. `size` is that of a patch, and neighbours are `stride` pixels apart.
    """

    job: Job
    images: tuple[Sample, ...]
    inputs: BagInputs
    split_codes: np.ndarray
    labels: np.ndarray
    patch: PatchNetwork
    positions: Callable[[int], np.ndarray]
    patches: tuple[Sample, ...] | None
    size: tuple[int, int]
    stride: int

    def bag(self, image: int, copy: int = 0) -> Bag:
        """One image, or from 1 on one of its augmented copies."""
        features = self.inputs.values[self.inputs.rows(image, copy)]
        head = self.patch.head
        answers = np.empty((len(features), 0)) if head is None else head(features)
        return Bag(features, answers, self.positions(image))

    def of_patches(self, values: np.ndarray) -> np.ndarray:
        """Values of images (images,), repeated for each of their patches (patches,)."""
        found = np.empty(len(self.patches or ()), values.dtype)
        for image, value in enumerate(values.tolist()):
            found[self.inputs.grouping.of(image)] = value
        return found

    def count(self, image: int) -> int:
        """How many patches an image has."""
        return len(self.inputs.grouping.of(image))

    @property
    def geometry(self) -> Geometry:
        """The most patches of an image in train, and the distance of patches."""
        of_train = self.inputs.grouping.members[self.split_codes == TRAIN]
        return Geometry(int((of_train >= 0).sum(axis=1).max()), self.stride)


def load_fusion_data(
    job: Job, images: Images, grouping: Grouping, patch: PatchNetwork, context: RunContext
) -> FusionData:
    """Compute the features of all patches and of the job's augmented copies, or find them stored.

    `images` are the patches of the job that are in a split.
    """
    codes, design = job.split_codes[job.split_codes >= 0], job.design

    def features(source: ImageSource) -> Rows:
        return patch.source.compute(source)

    values, first = with_augmented_copies(design, images, codes, context.workers, features)
    inputs = BagInputs(values, grouping, first, design.views or 1, design.schedule.seed)
    return data_of_patches(job, images.samples, inputs, codes, patch, images.size)


def data_of_patches(
    job: Job,
    samples: Sequence[Sample],
    inputs: BagInputs,
    codes: np.ndarray,
    patch: PatchNetwork,
    size: tuple[int, int],
) -> FusionData:
    """The data of images whose patches are rows of the dataset: `samples`, with the codes of their splits."""
    grouping, patches = inputs.grouping, job.dataset.preparation.patches
    assert patches is not None
    return FusionData(
        job,
        _rows(samples, grouping),
        inputs,
        codes[grouping.first],
        np.array([job.dataset.classes.index(samples[index].label) for index in grouping.first]),
        patch,
        lambda image: np.array([position_of(samples[member]) for member in grouping.of(image).tolist()]),
        tuple(samples) if patch.head is not None else None,
        size,
        patches.stride,
    )


def _rows(samples: Sequence[Sample], grouping: Grouping) -> tuple[Sample, ...]:
    """The images as rows of a table."""
    return tuple(
        replace(samples[index], path=key, row=None, col=None)
        for key, index in zip(grouping.keys, grouping.first.tolist(), strict=True)
    )
