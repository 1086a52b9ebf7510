import inspect

import pytest

from bccli.core.kinds import KINDS, imported

NAMES = {
    name
    for kind in KINDS.values()
    for name in (kind.predictor, kind.network, kind.folds, kind.on_dataset, kind.trainer)
    if name
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_function_that_a_row_names_is_there_and_says_what_it_does(name: str) -> None:
    assert inspect.isfunction(imported(name))
    assert imported(name).__doc__
