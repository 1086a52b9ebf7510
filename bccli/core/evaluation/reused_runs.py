"""Runs that another run is built on: whether the images that it is tested on are new to them."""

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.leakage import leak_sentences
from bccli.core.errors import LeakageError
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.runs.training_images import audit_against


def check_test_is_new(
    run: Run, dataset: Dataset, tested: np.ndarray, *, allowed: bool, watcher: Watcher
) -> None:
    """Raises LeakageError where a run was trained on images of a dataset that are `tested` (images,), or on
    patients of theirs; where that is `allowed`, the watcher is warned."""
    leak = audit_against(run, dataset, chosen=tested)
    if not leak.blocking:
        return
    finding = f"{run.root} was trained on what is test here: {leak_sentences({'test': leak.to_json()})[0]}"
    if not allowed:
        raise LeakageError(
            f"{dataset.root}: {finding}; keep those patients out of test, or insist with --allow-leakage"
        )
    watcher.warn(finding)
