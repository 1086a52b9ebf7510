"""Runs that another run is built on: whether the images that it is tested on are new to them."""

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.leakage import leak_sentences
from bccli.core.data.split_codes import TEST, TRAIN, VAL
from bccli.core.errors import LeakageError
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.runs.training_images import audit_against, from_elsewhere


def check_test_is_new(
    run: Run, dataset: Dataset, split_codes: np.ndarray, *, allowed: bool, watcher: Watcher
) -> None:
    """Raises LeakageError where a run, or one before it, was trained on images that are test by their
    `split_codes` (images,), or on patients of theirs; where that is `allowed`, the watcher is warned.

    What is train or val here is left to the audit of the dataset itself.
    """
    own = np.flatnonzero(np.isin(split_codes, (TRAIN, VAL))).tolist()
    others = from_elsewhere([run], (dataset.samples[index] for index in own))
    leak = audit_against(others, dataset, chosen=split_codes == TEST)
    if not leak.blocking:
        return
    finding = f"{run.root} was trained on what is test here: {leak_sentences({'test': leak.to_json()})[0]}"
    if not allowed:
        raise LeakageError(
            f"{dataset.root}: {finding}; keep those patients out of test, or insist with --allow-leakage"
        )
    watcher.warn(finding)
