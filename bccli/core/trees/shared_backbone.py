"""The nodes of a tree on one frozen backbone as one model, and the .tflite of every node."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core.data.image_batches import Images
from bccli.core.files import file_hash, replacing_file
from bccli.core.imaging.preparation import Preparation
from bccli.core.models.heads import units
from bccli.core.prediction.run_predictor import input_spec_of
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import TFLITE_FILE, Run
from bccli.core.training.features import frozen_key_of
from bccli.core.training.run_contents import NOT_EXPORTED_YET, export_tflite, parts_of
from bccli.core.trees.node_predictions import Networks
from bccli.core.trees.predictor import JOINT
from bccli.core.weights.keras_saving import save_model


@dataclass(frozen=True)
class Joint:
    """Nodes by name in the order of their scores, and what run.json says of the model's .tflite."""

    nodes: Mapping[str, Run]
    export: dict[str, Any] | None = None

    @property
    def columns(self) -> dict[str, list[int]]:
        """Which scores are whose."""
        found, first = {}, 0
        for name, run in self.nodes.items():
            width = units(run.info.settings["output"], len(run.classes))
            found[name] = list(range(first, first + width))
            first += width
        return found


def join(
    root: Path,
    nodes: Mapping[str, Run],
    preparation: Preparation,
    images: Images,
    networks: Networks,
    watcher: Watcher,
) -> Joint:
    """Write the nodes on the same frozen backbone as one model into `root`, joint.keras and joint.tflite.

    The largest such group becomes one, where there are two nodes or more in it; `images` are those of the
    tree, prepared so.
    """
    groups: dict[Any, dict[str, Run]] = {}
    for name, node in nodes.items():
        key = frozen_key_of(node)
        if key is not None and input_spec_of(node) == (preparation, images.size):
            groups.setdefault(key, {})[name] = node
    group = max(groups.values(), key=len, default={})
    if len(group) < 2:
        return Joint({})
    extractor, _ = networks.of(next(iter(group.values())))
    heads = [networks.of(node)[1] for node in group.values()]
    for number, head in enumerate(heads):
        head.name = f"head_{number}"
    model = _joined(extractor.input, extractor.output, heads)
    save_model(model, root / f"{JOINT}.keras")
    parts = parts_of(extractor, _joined(heads[0].input, heads[0].input, heads), images)
    return Joint(group, export_tflite(model, images, root, watcher, JOINT, parts=parts))


def _joined(inputs: Any, features: Any, heads: Sequence[Any]) -> Any:
    """One Keras model from inputs to the scores of all heads, side by side, on the features of these."""
    import keras

    scores = [head(features) for head in heads]
    return keras.Model(inputs, keras.layers.Concatenate(name="all_scores")(scores), name=JOINT)


def export_tflite_of_nodes(
    root: Path,
    nodes: Mapping[str, Run],
    joint: Joint,
    images: Images,
    networks: Networks,
    watcher: Watcher,
) -> None:
    """Give each node that waits for it its .tflite, and so a run that can be moved: a copy of the joint one,
    of which it takes its own scores, or one of its own."""
    for name, node in nodes.items():
        if node.info.litert != NOT_EXPORTED_YET:
            continue
        if name in joint.nodes and joint.export and "error" not in joint.export:
            with replacing_file(node.root / TFLITE_FILE) as temporary:
                shutil.copyfile(root / joint.export["file"], temporary)
            made = {**joint.export, "file": TFLITE_FILE, "columns": joint.columns[name]}
        else:
            import keras

            extractor, head = networks.of(node)
            scoring = keras.Model(extractor.input, head(extractor.output), name="scoring")
            parts = parts_of(extractor, head, images)
            made = export_tflite(scoring, images, node.root, watcher, parts=parts)
        files = dict(node.info.files)
        if "error" not in made:
            files[TFLITE_FILE] = file_hash(node.root / TFLITE_FILE)
        node.with_facts(litert=made, files=files).write_info()
