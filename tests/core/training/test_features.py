"""The key of stored features: whatever changes what a network makes of pixels changes it."""

from typing import Any

import pytest

from bccli.core.catalog import find_backbone
from bccli.core.training.features import FeatureKey, key_of
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
    {"norm": Norm((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))},
    {"norm": Norm((1.0, 2.0, 3.0), (4.0, 5.0, 7.0))},
    {"before_layer": 0},
    {"before_layer": 7},
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
