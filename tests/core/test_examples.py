"""The worked examples of docstrings come true."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import bccli

ROOT = Path(bccli.__file__).parent
MODULES = {
    ".".join(("bccli", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")
}
WITH_EXAMPLES = sorted(name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8"))
NEEDED = {
    *(
        f"metrics.{name}"
        for name in ("cases", "figures", "limits", "losses", "material", "overfitting", "roc")
    ),
    *("metrics.support", "metrics.thresholds", "evaluation.tree_decisions"),
    *("data.splits", "data.split_solver", "data.split_table", "data.sampling"),
}
"""The rooms of core whose figures a reader wants to see made."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_come_true(name: str) -> None:
    from bccli.core.data.label_tree import parse_tree

    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "parse_tree": parse_tree})
    assert not result.failed
    assert result.attempted


def test_figures_splits_and_trees_have_examples() -> None:
    assert {f"bccli.core.{name}" for name in NEEDED} <= set(WITH_EXAMPLES)
