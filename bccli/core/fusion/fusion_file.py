"""fusion.npz: what makes images of patches, without the patch run and without TensorFlow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from bccli.core.errors import DataError
from bccli.core.files import replacing
from bccli.core.fusion.methods import FUSIONS, Classified, Fuser, Geometry, Network
from bccli.core.models.dense.dense_head import DenseHead
from bccli.core.models.dense.layers import PREFIX
from bccli.core.reading.archives import read_arrays
from bccli.core.reading.json_types import Count, misfit
from bccli.core.reading.texts import parse_json
from bccli.core.runs.run_folder import CLASSIFIER_FILE, FUSION_FILE, Run

NAME = FUSION_FILE
FORMAT = 1


@dataclass(frozen=True)
class Stored:
    """The contents of fusion.npz: the row of `FUSIONS`, the patch head, and what the row has learned.

    There is no patch head where nobody answers for single patches.
    `arrays` are a network's weights, `layers` how many there are of its own, `output` its last activation.
    """

    kind: str
    head: DenseHead | None
    geometry: Geometry
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    layers: int = 0
    output: str = "softmax"

    def write(self, root: Path) -> None:
        """Write the file of a run."""
        facts = {
            "format": FORMAT,
            "kind": self.kind,
            "head": {"layers": self.head.layers, "output": self.head.output} if self.head else None,
            "geometry": [self.geometry.patches, self.geometry.stride],
            "layers": self.layers,
            "output": self.output,
        }
        arrays = {**(self.head.arrays if self.head else {}), **self.arrays}
        with replacing(root / NAME) as stream:
            np.savez(
                stream,
                facts=np.array(json.dumps(facts)),
                **{name: np.asarray(values, np.float32) for name, values in arrays.items()},  # type: ignore[arg-type]
            )


class _HeadFacts(TypedDict):
    layers: list[str]
    output: Literal["softmax", "sigmoid"]


class _Facts(TypedDict):
    """What stands beside the arrays."""

    kind: str
    head: _HeadFacts | None
    geometry: tuple[Count, Count]
    layers: Count
    output: Literal["softmax", "sigmoid"]


def load_fuser(run: Run) -> tuple[Stored, Fuser]:
    """The fusion that a run has stored, and its fuser. Raises DataError where a file is damaged."""
    path = run.file(NAME)
    try:
        arrays = read_arrays(path)
        facts = parse_json(str(arrays.pop("facts")).encode())
        if wrong := misfit(facts, _Facts, "facts"):
            raise ValueError(f"{wrong} is of another kind")
        stored = _stored(facts, arrays)
        way = FUSIONS[stored.kind]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy the whole folder again") from None
    if isinstance(way, Network):
        return stored, way.fuser(stored.arrays, stored.layers, stored.output)
    if isinstance(way, Classified):
        from bccli.core.classifiers.models import load_classifier

        return stored, way.fuser(load_classifier(run.file(CLASSIFIER_FILE)), stored.geometry)
    return stored, way


def _stored(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Stored:
    own = {name: values for name, values in arrays.items() if not name.startswith(PREFIX)}
    head = facts["head"]
    of_head = {name: values for name, values in arrays.items() if name.startswith(PREFIX)}
    return Stored(
        kind=facts["kind"],
        head=DenseHead(tuple(head["layers"]), head["output"], of_head) if head else None,
        geometry=Geometry(*facts["geometry"]),
        arrays=own,
        layers=facts["layers"],
        output=facts["output"],
    )
