"""Regions that a node of a tree needs and no mask marks: found in what the node above it shows.

A stand-in for a detector, see `detectors.locator`, where there are no masks to learn from: the crop is the
box around what the class-activation map of the node above shows, see `class_activation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import raw_box
from bccli.core.models.class_maps import DenseHead, Shapes, head_from_arrays
from bccli.core.models.runtimes import Engine, Network
from bccli.core.prediction.maps.class_activation import activation_map, box_in
from bccli.core.prediction.run_predictor import ImagePatches, InputSpec, RunPredictor, input_spec_of
from bccli.core.reading.archives import read_arrays
from bccli.core.runs.run_folder import Run, part_of

FOLDER = "locators"
"""The folder of a tree's run that holds a model from images to features and maps, and its head, for each
node that others are located by."""


class Locator(Protocol):
    """Finds the box in a raw image that a node is to classify."""

    @property
    def node(self) -> str:
        """The node."""

    @property
    def spec(self) -> InputSpec:
        """How the images are prepared that it looks at."""

    @property
    def source(self) -> str:
        """What says where the box is, for a column: map or detector."""

    def __call__(self, patches: ImagePatches, shape: tuple[int, int]) -> Box:
        """The box in a raw image of this shape (height, width), which is `patches` by the locator's spec."""


@dataclass(frozen=True)
class MapLocator:
    """Finds it in what the node above shows.

    `network` makes features and maps of `shapes` of images prepared by `spec`; class `number` of `head` is
    what is looked for, from `share` of the map's maximum on.
    """

    node: str
    spec: InputSpec
    network: Network
    head: DenseHead
    shapes: Shapes
    number: int
    share: float
    source: str = "map"
    _lock: Lock = field(default_factory=Lock, compare=False, repr=False)

    def __call__(self, patches: ImagePatches, shape: tuple[int, int]) -> Box:
        """The box in a raw image of this shape (height, width), which is `patches` by the locator's spec."""
        preparation, size = self.spec
        with self._lock:  # images are prepared in several threads
            (outputs,) = self.network(patches.images)
        found = activation_map(outputs, self.head, self.shapes, self.number, size)
        return raw_box(box_in(found, self.share), preparation, shape)


@runtime_checkable
class LocatingPredictor(RunPredictor, Protocol):
    """The predictor of a run that finds regions where there is no mask."""

    @property
    def locators(self) -> Mapping[InputSpec, Locator]:
        """The models that find regions, by the specs of the regions."""


def box_columns(node: str) -> tuple[str, str]:
    """The columns that show a node's box, and whether a mask, a map or a detector says so."""
    return f"{node}_box", f"{node}_box_from"


def load_map_locators(run: Run, engine: Engine) -> dict[InputSpec, Locator]:
    """A tree's locators by maps, by the spec whose boxes they find."""
    found: dict[InputSpec, Locator] = {}
    for name, facts in run.info.locators.items():
        if "detector" in facts:
            continue
        stem = f"{FOLDER}/{facts['by']}"
        path = run.file(f"{stem}.npz")
        try:
            head = head_from_arrays(read_arrays(path))
        except KeyError as error:
            raise DataError(f"{path}: has no {error.args[0]}; copy the whole folder again") from None
        shapes = [(rows, columns, channels) for rows, columns, channels in facts["shapes"]]
        found[input_spec_of(part_of(run, name))] = MapLocator(
            name, input_spec_of(run), engine.outputs(run, stem), head, shapes,
            facts["number"], facts["share"],
        )  # fmt: skip
    return found


def filled(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """A box as a mask uint8 (height, width)."""
    mask = np.zeros(shape, np.uint8)
    mask[box.top : box.bottom, box.left : box.right] = 255
    return mask
