"""The worked examples in docstrings say what comes out."""

import doctest
import importlib

import pytest

MODULES = (
    "data.numerals", "data.patients", "data.positive_class", "data.sampling", "data.split_solver",
    "data.split_table", "data.splits", "metrics.bootstrap", "metrics.support", "wording",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_come_out_as_they_stand_there(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"bccli.core.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
