"""The dataset that a run was trained on, where it still lies there, and some of its images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import Dataset, load_dataset
from bccli.core.data.manifest import Sample
from bccli.core.data.node_subset import dataset_of_node
from bccli.core.errors import BccliError, DataError
from bccli.core.runs.run_folder import Run


def place_of(run: Run) -> tuple[Path, str] | None:
    """Where a run's dataset lies, and the hash of what it held; None where run.json does not say so."""
    path = run.info.data.path
    return None if path is None else ((run.root / path).resolve(), run.info.data.hash)


def dataset_of(run: Run) -> Dataset:
    """The dataset, of a tree's node its part of it. Raises DataError with a whole sentence where it cannot be
    reached, or has changed since."""
    if (place := place_of(run)) is None:
        raise DataError("run.json does not say where the data of this run lie.")
    root, content = place
    try:
        dataset = dataset_of_node(load_dataset(root), run.info.data.subset)
    except (BccliError, OSError) as error:
        raise DataError(f"The images of this run cannot be reached: {error}.") from None
    if dataset.hash != content:
        raise DataError(f"The images of this run cannot be shown: {root} has changed since it was trained.")
    return dataset


def some_of(samples: Sequence[Sample], most: int) -> list[Sample]:
    """So many samples at most, drawn by lot, and the same each time: every so many-th could be all of one
    class or view."""
    if len(samples) <= most:
        return list(samples)
    drawn = np.random.default_rng(0).choice(len(samples), most, replace=False)
    return [samples[index] for index in sorted(drawn.tolist())]
