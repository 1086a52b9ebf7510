"""From a patch run and a prepared dataset to a run of kind fusion: features once, a way to fuse, results."""

import numpy as np

import bccli
from bccli.core.fusion.bags import group
from bccli.core.fusion.fusion_data import load_fusion_data
from bccli.core.fusion.learners import learn
from bccli.core.fusion.patch_run import check_base, load_patch_network
from bccli.core.fusion.run_contents import complete_fusion
from bccli.core.fusion.vector_bags import load_vector_bags
from bccli.core.models import backend
from bccli.core.runs.run_folder import Run, load_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Job
from bccli.core.training.frozen.sources import SourceData
from bccli.core.training.network import RunContext


def fuse(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Learn to fuse the patches of a job's images, and complete the run.

    Raises DataError where the patch run does not fit the data, and what `Fit.run` raises.
    """
    watcher, design = context.watcher, job.design
    if design.vectors:
        return _fuse_vectors(job, run, context)
    assert design.fusing is not None
    used = np.flatnonzero(job.split_codes >= 0)
    samples = [job.dataset.samples[index] for index in used]
    images = context.open_images(job.dataset.root, samples, context.watcher)
    base = load_run(design.fusing.base)
    check_base(base, job, images.size, watcher)
    grouping = group(images.samples, job.split_codes[used])
    tf = context.start_tensorflow()
    import keras

    watcher.note(
        f"bccli {bccli.__version__} train {design.head.kind} over {design.backbone}: TensorFlow "
        f"{tf.__version__} on {backend.describe_device(tf)}, {len(grouping.keys)} images of "
        f"{job.dataset.root} and the features of {base.root} → {run.root}"
    )
    keras.backend.clear_session()
    patch = load_patch_network(base, job, SourceData(run, images, job.split_codes[used], context, models))
    data = load_fusion_data(job, images, grouping, patch, context)
    keras.utils.set_random_seed(design.schedule.seed)  # loading a patch run draws, and vectors do not
    return complete_fusion(data, learn(data, run, context), run, context)


def _fuse_vectors(job: Job, run: Run, context: RunContext) -> Run:
    """The same on vectors from files."""
    design = job.design
    data = load_vector_bags(job, run)
    tf = context.start_tensorflow()
    import keras

    context.watcher.note(
        f"bccli {bccli.__version__} train {design.head.kind} over {data.patch.source.description}: "
        f"TensorFlow {tf.__version__} on {backend.describe_device(tf)}, {len(data.images)} images of "
        f"{job.dataset.root} → {run.root}"
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(design.schedule.seed)
    return complete_fusion(data, learn(data, run, context), run, context)
