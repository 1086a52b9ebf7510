"""The worked examples of docstrings come true."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import bccli.core.evaluation
import bccli.core.metrics

MODULES = [
    found.name
    for package in (bccli.core.metrics, bccli.core.evaluation)
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]
EXAMPLES = {"cases", "figures", "limits", "losses", "material", "overfitting", "roc", "support", "thresholds"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_come_true(name: str) -> None:
    module = importlib.import_module(name)
    from bccli.core.data.label_tree import parse_tree

    result = doctest.testmod(module, extraglobs={"np": np, "parse_tree": parse_tree})
    assert not result.failed
    if name.removeprefix("bccli.core.metrics.") in EXAMPLES or name.endswith("tree_decisions"):
        assert result.attempted
