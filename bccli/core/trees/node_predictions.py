"""What runs say to prepared images of a tree's data: from kept features where their backbone is frozen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import open_images
from bccli.core.data.manifest import Sample
from bccli.core.evaluation.external import answers_to
from bccli.core.models.graph import extractor_and_head, load_model
from bccli.core.models.runtimes import OUTPUTS
from bccli.core.prediction.predictor import load_predictor
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.training.features import compute_features, frozen_key_of

_STEP = 512


@dataclass(frozen=True)
class Networks:
    """The extractors and heads of runs: those `known` by the runs' folders, and those on the disk."""

    known: dict[Path, tuple[Any, Any]] = field(default_factory=dict)

    def of(self, run: Run) -> tuple[Any, Any]:
        """The Keras models of a network's run: from RGB 0–255 to features, and from these to scores."""
        if run.root not in self.known:
            self.known[run.root] = extractor_and_head(load_model(run.part("model.keras")))
        return self.known[run.root]


@dataclass(frozen=True)
class Place:
    """Where a run's answers are computed: prepared images below `root`, kept features in `cache`, with
    `networks` that may be there already."""

    root: Path
    cache: Path
    networks: Networks
    device: str = "auto"
    workers: int = 1
    verbose: bool = False
    watcher: Watcher = SILENT


def answers_of_run(run: Run, samples: Sequence[Sample], place: Place) -> np.ndarray:
    """Probabilities (n, classes) of prepared images, in the order of the run's classes."""
    key = frozen_key_of(run)
    if key is None:
        predictor = load_predictor(
            [run.root], device=place.device, tempered=False, verbose=place.verbose, watcher=place.watcher
        )
        place.watcher.note(f"{run.root} answers to {len(samples)} images: {predictor.device}")
        return answers_to(
            predictor, place.root, samples, workers=place.workers, watcher=place.watcher
        ).probabilities
    from bccli.core.models import backend

    backend.start(place.device, verbose=place.verbose)
    extractor, head = place.networks.of(run)
    features = compute_features(
        open_images(place.root, samples), extractor, key, place.cache, watcher=place.watcher
    )
    activate = OUTPUTS[run.info.settings["output"]]
    steps = [np.arange(start, min(start + _STEP, len(samples))) for start in range(0, len(samples), _STEP)]
    return np.concatenate([activate(head(features[step], training=False).numpy()) for step in steps])
