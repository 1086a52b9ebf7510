"""From a design and prepared images with masks to a run of kind detector: maps once, a heat head on them."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import Images
from bccli.core.data.manifest import SPLITS
from bccli.core.data.split_codes import TEST, VAL
from bccli.core.errors import DivergedError
from bccli.core.imaging.preparation import Preparation
from bccli.core.models.detectors.heat_head import grid_of
from bccli.core.models.extractors import map_shapes
from bccli.core.prediction.detectors.boxes_file import write_detected
from bccli.core.prediction.detectors.film_tiles import Heated, detected_in, rims_of_samples, without_rims
from bccli.core.prediction.detectors.heat_maps import DETECTOR_MODEL, HeatGrid, scores_of, without_padding
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import STATE_FILE, Run
from bccli.core.training.assembly import Built, ModelCache, build
from bccli.core.training.design import Job
from bccli.core.training.detectors.lesion_cells import cells_of
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.network import (
    RunContext,
    announce,
    begin_weights,
    examples_of,
    input_norm,
    inputs_of,
)
from bccli.core.training.objectives.cells import BOTH, FOCAL, of_cells
from bccli.core.training.run_contents import Curves, Trained, draw_network, export_tflite, finish
from bccli.core.training.tensorboard import FOLDER, EventFile
from bccli.core.weights.keras_saving import save_model

_STEP, _PIXELS_STEP = 256, 16


@dataclass(frozen=True)
class HeatNetwork:
    """A trained detector: a Keras model from RGB 0–255 to scores (n, cells) of a `grid`."""

    scoring: Any
    grid: HeatGrid
    is_saved: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of its images."""
        return self.grid.size

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return int(self.scoring.count_params())

    def store(self, root: Path, trained: Trained, watcher: Watcher) -> dict[str, Any]:
        """Store it as detector.keras and detector.tflite, and draw it."""
        save_model(self.scoring, root / f"{DETECTOR_MODEL}.keras")
        draw_network(root, self.scoring.layers)
        exported = export_tflite(self.scoring, trained.images, root, watcher, DETECTOR_MODEL)
        return {"exports": {DETECTOR_MODEL: exported}, "detector": self.grid.to_json()}


def train_detector(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Train the detector of a job and fill its run. Raises what `network.train` raises."""
    watcher, design = context.watcher, job.design
    announce(job, run, context)
    used = np.flatnonzero(job.split_codes >= 0)
    images = context.open_images(
        job.dataset.root, [job.dataset.samples[index] for index in used], context.watcher
    )
    split_codes = job.split_codes[used]
    norm = input_norm(job, images, split_codes)
    begin_weights(design.schedule.seed)
    built = build(job, images.size, job.weights, norm)
    grid = HeatGrid(images.size, grid_of(map_shapes(built.maps)))
    cells = cells_of(images.root, images.samples, images.size, grid.cells)
    with inputs_of(job, images, split_codes, built if built.stored else None, norm, run, context) as inputs:
        examples = replace(examples_of(job, images, split_codes, inputs), truth_of=cells.truth)
        fit = _fit(job, run, context, examples, built)
        try:
            fit.run()
        except DivergedError as error:
            raise DivergedError(f"{run.root}: {error}", error.kept_epoch) from None
        probabilities, heats = _answers(fit, grid, images, split_codes, job.dataset.preparation)
        write_detected(run.root, detected_in(images, grid, job.dataset.preparation, heats))
        network = HeatNetwork(built.scoring, grid, context.save_network)
        trained = Trained(network, fit, images, split_codes, probabilities)
        facts = {"recipe": context.recipe or None, "norm": asdict(norm) if norm else None}
        return finish(job, run, trained, facts=facts, watcher=watcher, plot_pool=context.plot_pool)


def _answers(
    fit: Fit, grid: HeatGrid, images: Images, split_codes: np.ndarray, preparation: Preparation
) -> tuple[np.ndarray, list[Heated]]:
    """The probabilities (n, 2) of all images, and the maps of those of val and test."""
    probabilities, heats = [], []
    rims = rims_of_samples(images.samples, preparation, grid.cells)
    for start in range(0, len(images.samples), _STEP):
        positions = np.arange(start, min(start + _STEP, len(images.samples)))
        maps = without_rims(_maps(fit, grid, images, positions, preparation), rims[positions])
        probabilities.append(scores_of(maps))
        for heat, position in zip(maps, positions.tolist(), strict=True):
            if (code := split_codes[position]) in (VAL, TEST):
                heats.append(Heated(images.samples[position], SPLITS[code], heat))
    return np.concatenate(probabilities), heats


def _maps(
    fit: Fit, grid: HeatGrid, images: Images, positions: np.ndarray, preparation: Preparation
) -> np.ndarray:
    """The maps (m, rows, columns) of the images at positions (m,), 0 where these were padded."""
    maps = grid.maps(fit.predict(positions))
    if not preparation.pads:
        return maps
    batches = images.arrays(positions, _PIXELS_STEP)
    parts = np.split(maps, range(_PIXELS_STEP, len(maps), _PIXELS_STEP))
    return np.concatenate(
        [without_padding(part, pixels, preparation) for part, pixels in zip(parts, batches, strict=True)]
    )


def _fit(job: Job, run: Run, context: RunContext, examples: Examples, built: Built) -> Fit:
    loss = FOCAL if job.design.schedule.loss == "focal" else BOTH
    cells = built.head.output_shape[-1]
    return Fit(
        built.tail if built.stored else built.live,
        examples, job.design.schedule, run.root / STATE_FILE,
        watcher=context.watcher, on_state=Curves(run.root),
        on_epoch=EventFile(run.root / FOLDER) if context.tensorboard else None,
        objective=of_cells(cells, loss=loss),
    )  # fmt: skip
