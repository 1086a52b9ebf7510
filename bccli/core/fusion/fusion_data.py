"""The data of a fusion: the images of a job as bags of patches, with the features of a patch run."""

from dataclasses import dataclass

import numpy as np

from bccli.core.data.image_batches import Images, ImageSource
from bccli.core.data.split_codes import TRAIN
from bccli.core.fusion.bags import Bag, Grouping, position_of
from bccli.core.fusion.inputs import BagInputs
from bccli.core.fusion.methods import Geometry
from bccli.core.fusion.patch_run import PatchNetwork
from bccli.core.runs.feature_store import StoredFeatures
from bccli.core.training.design import Job
from bccli.core.training.live_augmentation import with_augmented_copies
from bccli.core.training.network import RunContext


@dataclass(frozen=True)
class FusionData:
    """The images of a job as bags, with their `split_codes` and `labels` (images,); `images` are patches."""

    job: Job
    images: Images
    inputs: BagInputs
    split_codes: np.ndarray
    labels: np.ndarray
    patch: PatchNetwork

    def bag(self, image: int, copy: int = 0) -> Bag:
        """One image, or from 1 on one of its augmented copies."""
        features = self.inputs.values[self.inputs.rows(image, copy)]
        members = self.inputs.grouping.of(image).tolist()
        positions = np.array([position_of(self.images.samples[member]) for member in members])
        return Bag(features, self.patch.head(features), positions)

    def of_patches(self, values: np.ndarray) -> np.ndarray:
        """Values of images (images,), repeated for each of their patches (patches,)."""
        found = np.empty(len(self.images.samples), values.dtype)
        for image, value in enumerate(values.tolist()):
            found[self.inputs.grouping.of(image)] = value
        return found

    @property
    def geometry(self) -> Geometry:
        """The most patches of an image in train, and the distance of patches."""
        patches = self.job.dataset.preparation.patches
        assert patches is not None
        of_train = self.inputs.grouping.members[self.split_codes == TRAIN]
        return Geometry(int((of_train >= 0).sum(axis=1).max()), patches.stride)


def load_fusion_data(
    job: Job, images: Images, grouping: Grouping, patch: PatchNetwork, context: RunContext
) -> FusionData:
    """Compute the features of all patches and of the job's augmented copies, or find them stored.

    `images` are the patches of the job that are in a split.
    """
    codes, design = job.split_codes[job.split_codes >= 0], job.design

    def features(source: ImageSource) -> np.ndarray | StoredFeatures:
        return patch.source.compute(source)

    values, first = with_augmented_copies(design, images, codes, context.workers, features)
    labels = [job.dataset.classes.index(images.samples[index].label) for index in grouping.first]
    inputs = BagInputs(values, grouping, first, design.views or 1, design.schedule.seed)
    return FusionData(job, images, inputs, codes[grouping.first], np.array(labels), patch)
