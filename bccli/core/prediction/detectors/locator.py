"""Regions that a node of a tree needs and no mask marks: the surest box of a detector."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from bccli.core.imaging.equalising import Box
from bccli.core.models.runtimes import Engine
from bccli.core.prediction.detectors.predictor import DetectorPredictor, load_detector
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.region_finder import LocatingPredictor, Locator
from bccli.core.prediction.run_predictor import ImagePatches, InputSpec, RunPredictor, input_spec_of
from bccli.core.runs.run_folder import Run, part_of


@dataclass(frozen=True)
class DetectorLocator:
    """Finds the box in a raw image that `node` is to classify; the whole image where nothing is found."""

    node: str
    detector: DetectorPredictor
    source: str = "detector"
    _lock: Lock = field(default_factory=Lock, compare=False, repr=False)

    @property
    def spec(self) -> InputSpec:
        """How the images are prepared that it looks at."""
        return self.detector.spec

    def __call__(self, patches: ImagePatches, shape: tuple[int, int]) -> Box:
        """The box in a raw image of this shape (height, width), which is `patches` by the locator's spec."""
        with self._lock:  # images are prepared in several threads
            (heat,) = self.detector.maps([patches], (as_is,), 1)
        boxes = self.detector.grid.raw_boxes(heat, self.spec, shape, patches.box)
        return boxes[0].box if boxes else Box(0, 0, shape[1], shape[0])


def load_detector_locators(run: Run, engine: Engine) -> dict[InputSpec, Locator]:
    """A tree's locators by a detector, by the spec whose boxes they find; nodes of one share its network."""
    by_folder: dict[str, DetectorLocator] = {}
    found: dict[InputSpec, Locator] = {}
    for name, facts in run.info.locators.items():
        if folder := facts.get("detector"):
            if folder not in by_folder:
                detector = load_detector(part_of(run, folder), engine, False)
                by_folder[folder] = DetectorLocator(name, detector)
            found[input_spec_of(part_of(run, name))] = replace(by_folder[folder], node=name)
    return found


def common_locators(members: Sequence[RunPredictor]) -> dict[InputSpec, Locator]:
    """The locators of trees that answer together: a box is found in the mean of what all their detectors say.

    Those by maps have no common one.
    """
    several = [dict(member.locators) if isinstance(member, LocatingPredictor) else {} for member in members]
    found: dict[InputSpec, Locator] = {}
    for spec, first in several[0].items():
        same = [of_member.get(spec) for of_member in several]
        detectors = [one.detector for one in same if isinstance(one, DetectorLocator)]
        alike = len({(detector.spec, detector.grid) for detector in detectors}) == 1
        if alike and len(detectors) == len(same):
            networks = tuple(network for detector in detectors for network in detector.networks)
            found[spec] = DetectorLocator(first.node, replace(detectors[0], networks=networks))
    return found
