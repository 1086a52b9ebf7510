"""Making what finds a node's crops in images without a mask, and measuring it where there are masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import Images, decode_prepared
from bccli.core.data.label_tree import Tree
from bccli.core.errors import ImageError
from bccli.core.evaluation.tree_figures import columns_of_regions
from bccli.core.files import replacing
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation
from bccli.core.imaging.regions import bounding_box
from bccli.core.metrics.material import Floats
from bccli.core.models.class_maps import DenseHead, Shapes, dense_head, with_maps
from bccli.core.prediction.maps.class_activation import SHARES, activation_map, box_in, overlap, peak_of
from bccli.core.prediction.region_finder import FOLDER
from bccli.core.prediction.run_predictor import input_spec_of
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.training.run_contents import export_tflite
from bccli.core.trees.node_predictions import Networks
from bccli.core.weights.keras_saving import save_model

_STEP = 8


@dataclass(frozen=True)
class Films:
    """The images of a tree, prepared so; `trained` (n,) are those that a share may be chosen on."""

    images: Images
    preparation: Preparation
    trained: np.ndarray


@dataclass
class Locators:
    """What run.json says of them, by node, and of their .tflite; `columns` (n,) have for each node
    whether the map's peak, or the middle of a detector's box, lies in the true box, and the overlap of the
    boxes, NaN where there is no mask."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: dict[str, Floats] = field(default_factory=dict)


def make_locators(
    root: Path,
    tree: Tree,
    wanted: Sequence[str],
    nodes: Mapping[str, Run],
    films: Films,
    networks: Networks,
    watcher: Watcher,
) -> Locators:
    """Let the nodes above them find the regions that the `wanted` nodes classify.

    Where they cannot, the reason is logged.
    """
    found = Locators()
    above = {child.name: node for node in tree.inner for child in node.children}
    below: dict[str, list[str]] = {}
    for name in wanted:
        if why := _obstacle(name, above.get(name), wanted, nodes, films):
            watcher.note(f"{name}: predict will need --mask-dir, as {why}")
        else:
            below.setdefault(above[name].name, []).append(name)
    leaves = {node.name: node.leaves for node in tree.inner}
    for parent, names in below.items():
        extractor, head = networks.of(nodes[parent])
        region_model = _RegionModel(*with_maps(extractor), dense_head(head))
        found.exports[f"{FOLDER}/{parent}"] = _store(root, parent, region_model, films, watcher)
        for name in names:
            number = nodes[parent].classes.index(name)
            share, columns = _measure(name, leaves[name], region_model, number, films)
            shapes = [list(shape) for shape in region_model.shapes]
            found.facts[name] = {"by": parent, "number": number, "shapes": shapes, "share": share}
            found.columns |= columns
    return found


def _obstacle(
    name: str, above: Tree | None, wanted: Sequence[str], nodes: Mapping[str, Run], films: Films
) -> str:
    """Why a node cannot be located; nothing where it can."""
    if above is None:
        return "there is no node above it to find its regions"
    run, spec = nodes[above.name], (films.preparation, films.images.size)
    if run.info.kind != "network" or input_spec_of(run) != spec:
        return f"{above.name} is no network of the images of the tree"
    if films.preparation.region or films.preparation.patches:
        return "the tree itself classifies regions or patches"
    return shared_spec(name, wanted, nodes)


def shared_spec(name: str, wanted: Sequence[str], nodes: Mapping[str, Run]) -> str:
    """Why a node's regions cannot be told from those of the others that are `wanted`; nothing where they
    can."""
    others = [other for other in wanted if other != name]
    if any(input_spec_of(nodes[other]) == input_spec_of(nodes[name]) for other in others):
        return "another node has regions of the same preparation and size"
    return ""


@dataclass(frozen=True)
class _RegionModel:
    """A network that others are located by: the model from images to features and maps, these maps' shapes,
    and its head."""

    model: Any
    shapes: Shapes
    head: DenseHead

    def maps(self, images: Images, indices: np.ndarray, number: int) -> Iterator[Floats]:
        """Yield the maps of a class for the images of these indices."""
        for batch in images.batches(indices, _STEP):
            for row in self.model(batch, training=False).numpy():
                yield activation_map(row, self.head, self.shapes, number, images.size)


def _measure(
    name: str, leaves: Sequence[str], region_model: _RegionModel, number: int, films: Films
) -> tuple[float, dict[str, Floats]]:
    """The share whose boxes overlap most with the true ones in train, without any the least, which Zhou et
    al. take; and the columns that say how well regions are found with it."""
    boxes = true_boxes(films.images, leaves)
    indices = np.array(sorted(boxes), np.int64)
    hits = np.full(len(films.images.samples), np.nan)
    overlaps = np.full((len(hits), len(SHARES)), np.nan)
    for index, found in zip(indices.tolist(), region_model.maps(films.images, indices, number), strict=True):
        (column, row), box = peak_of(found), boxes[index]
        hits[index] = box.left <= column < box.right and box.top <= row < box.bottom
        overlaps[index] = [overlap(box_in(found, share), box) for share in SHARES]
    known = overlaps[films.trained & ~np.isnan(hits)]
    best = int(known.mean(axis=0).argmax()) if len(known) else 0
    columns = hits, overlaps[:, best]
    return SHARES[best], dict(zip(columns_of_regions(name), columns, strict=True))


def _store(
    root: Path, above: str, region_model: _RegionModel, films: Films, watcher: Watcher
) -> dict[str, Any]:
    """Write the model as .keras and .tflite; what run.json says of the latter."""
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    save_model(region_model.model, folder / f"{above}.keras")
    with replacing(folder / f"{above}.npz") as stream:
        np.savez(stream, **region_model.head.to_arrays())  # type: ignore[arg-type]
    made = export_tflite(region_model.model, films.images, folder, watcher, above)
    return made if "error" in made else {**made, "file": f"{FOLDER}/{made['file']}"}


def true_boxes(images: Images, leaves: Sequence[str]) -> dict[int, Box]:
    """The box around the mask of each image of these labels that has one, by its index."""
    found = {}
    for index, sample in enumerate(images.samples):
        if sample.mask and sample.label in leaves:
            try:
                found[index] = bounding_box(decode_prepared(images.root / sample.mask)[..., 0])
            except ImageError:
                continue  # nothing is left of a tiny one
    return found
