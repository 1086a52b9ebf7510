"""The mark `tensorflow` is on what trains or imports it, directly or by what it calls, on nothing else."""

from pathlib import Path

import pytest

from tests import conftest
from tests.commands import test_finetune, test_prepare, test_train
from tests.needs import mark_tensorflow, needs_tensorflow


def trains(bccli: conftest.Bccli) -> None:
    bccli("train", "data", "run")


def trains_by_a_command_in_a_tuple() -> tuple[str, ...]:
    command = "finetune", "run", "out"
    return command


def calls_what_trains(bccli: conftest.Bccli) -> None:
    trains(bccli)


def imports_keras() -> None:
    import keras.ops  # noqa: F401


def speaks_of_train(rows: list[dict[str, str]], bccli: conftest.Bccli) -> None:
    """The word is a split here, as in `rows[0]["split"] == "train"`."""
    assert rows[0]["split"] == "train"
    bccli("prepare", "folder", "train", "data")


def test_what_trains_needs_it() -> None:
    for function in (trains, trains_by_a_command_in_a_tuple, calls_what_trains, imports_keras):
        assert needs_tensorflow(function), function.__name__
    assert not needs_tensorflow(speaks_of_train)
    assert not needs_tensorflow(Path.exists)


def test_every_test_can_be_asked(request: pytest.FixtureRequest) -> None:
    mark_tensorflow(request.session.items)


def test_functions_of_other_files_are_followed() -> None:
    assert needs_tensorflow(conftest.fill_finished)
    assert not needs_tensorflow(conftest.fill_prepared)
    assert needs_tensorflow(test_finetune.weights_of)
    assert needs_tensorflow(test_train.test_columns_of_other_tools_are_no_obstacle)
    assert not needs_tensorflow(test_prepare.in_small_file_system)
