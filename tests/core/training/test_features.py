"""The key of stored features: whatever changes what a network makes of pixels changes it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bccli.core.catalog import find_backbone
from bccli.core.training.features import FeatureKey, forget_features, key_of
from bccli.core.training.input_norm import Norm

BASE: dict[str, Any] = {
    "backbone": "cnn-15", "weights": "random 0", "size": (24, 24), "head": "gap", "norm": None,
    "before_layer": None,
}  # fmt: skip
CHANGES: list[dict[str, Any]] = [
    {},
    {"backbone": "cnn-20"},
    {"backbone": "resnet50"},
    {"weights": "random 1"},
    {"size": (24, 32)},
    {"head": "blocks"},
    {"head": "thesis"},
    {"head": "two-views", "context": 0.5},
    {"head": "two-views", "context": 0.25},
    {"head": "two-views", "context": 0.5, "before_layer": 7},
    {"norm": Norm((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))},
    {"norm": Norm((1.0, 2.0, 3.0), (4.0, 5.0, 7.0))},
    {"before_layer": 0},
    {"before_layer": 7},
    {"before_layer": 7, "private_to": "a1"},
    {"before_layer": 7, "private_to": "b2"},
]


def key(**changes: Any) -> FeatureKey:
    values = {**BASE, **changes}
    backbone, weights, size = (values.pop(name) for name in ("backbone", "weights", "size"))
    return key_of(find_backbone(backbone), weights, size, **values)


def test_every_setting_that_changes_features_changes_the_folder() -> None:
    names = [key(**changes).name for changes in CHANGES]
    assert len(set(names)) == len(CHANGES)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_same_settings_find_what_an_earlier_run_has_stored(changes: dict[str, Any]) -> None:
    assert key(**changes).name == key(**changes).name


def test_every_device_and_precision_has_a_folder_of_its_own() -> None:
    keys = [
        replace(key(head=head), device=device, precision=precision)
        for head in ("gap", "blocks")
        for device in ("cpu", "gpu")
        for precision in ("float32", "float16", "bfloat16")
    ]
    assert len({key.name for key in keys}) == len(keys)


@pytest.mark.parametrize("head", ["gap", "blocks"])
def test_features_from_a_cpu_in_32_bits_are_where_they_always_were(head: str) -> None:
    one = key(head=head)
    facts = [
        one.backbone,
        one.weights,
        one.preprocessing,
        [24, 24],
        *([one.kind] if head == "blocks" else []),
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    assert one.name == f"cnn-15-{digest}"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_run_that_ends_takes_only_its_own_features_with_it(tmp_path: Path, device: str) -> None:
    """Two fine-tunings from one layer of one network, and a network that is trained on all features of it."""
    shared = key()
    ours, theirs = (replace(key(before_layer=7), private_to=word, device=device) for word in ("a1", "b2"))
    names = {one.name for one in (shared, ours, theirs)}
    assert len(names) == 3
    for name in names:
        (tmp_path / "features" / name).mkdir(parents=True)
    forget_features(key(before_layer=7, private_to="a1"), tmp_path)
    assert {path.name for path in (tmp_path / "features").iterdir()} == names - {ours.name}
    forget_features(shared, tmp_path)
    assert {path.name for path in (tmp_path / "features").iterdir()} == names - {ours.name}
