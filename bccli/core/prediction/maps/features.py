"""The features that a run's head sees, and what they say of images that are unlike those of train."""

from dataclasses import dataclass

import numpy as np

from bccli.core.errors import DataError
from bccli.core.kinds import KINDS
from bccli.core.metrics.decisions.likeness import FEATURES, Likeness, Points, likeness_from_arrays, traits_of
from bccli.core.models.runtimes import Engine, Network, NoTfliteError
from bccli.core.reading.archives import read_arrays
from bccli.core.runs.run_folder import EXTRACTOR, UNLIKE_FILE, Run, folds_of


@dataclass(frozen=True)
class Guard:
    """Says by which traits images are unlike those that a run was trained on."""

    likeness: Likeness
    features: Network

    def unlike(self, images: np.ndarray) -> list[str]:
        """Of each image uint8 (n, height, width, 3) the traits, joined; empty where it is like them."""
        return self.likeness.unlike(points_of(self.features, images))


def points_of(features: Network, images: np.ndarray) -> Points:
    """By trait the points of images uint8 (n, height, width, 3)."""
    return {FEATURES: features(images), **traits_of(images)}


def features_of(run: Run, engine: Engine) -> Network | None:
    """What makes the features (n, width) of prepared images, of a run of folds the first one's; None for runs
    on patches and those of several networks."""
    first, *_ = folds_of(run)
    if run.preparation.patches:
        return None
    if first.info.of_files:
        return engine.outputs(first, EXTRACTOR)
    if not KINDS[first.info.kind].has_maps:
        return None
    try:
        maps = engine.class_maps(first)
    except NoTfliteError:
        return None
    if maps is None:
        return None
    network, width = maps.network, maps.head.layers[0][0].shape[0]
    return lambda images: network(images)[:, :width]


def guard_of(run: Run, engine: Engine) -> Guard | None:
    """The guard that is stored with a run; None where there is none. Raises DataError for a damaged one."""
    if UNLIKE_FILE not in run.info.files or (features := features_of(run, engine)) is None:
        return None
    path = run.file(UNLIKE_FILE)
    try:
        return Guard(likeness_from_arrays(read_arrays(path)), features)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}); copy the whole folder again") from None
