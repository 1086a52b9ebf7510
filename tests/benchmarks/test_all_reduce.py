"""The arithmetic of the exchange of gradients, and the weights that it counts; nothing here is timed."""

import numpy as np
import pytest

from bccli.core.catalog import find_backbone
from bccli.core.models import backend
from tests.benchmarks.all_reduce import (
    LINKS,
    REPLICAS,
    learning_weights,
    meeting,
    network_of,
    ring_seconds,
    sizes,
    table,
)


def test_a_ring_moves_all_bytes_nearly_twice() -> None:
    assert ring_seconds(12_000_000_000, 2, LINKS["PCIe, 12 GB/s"]) == 1
    assert ring_seconds(10**9, 8, LINKS["10 Gb/s"]) == pytest.approx(1.75 * 0.8)
    assert ring_seconds(10**9, 1, 1) == 0


def test_exchange_and_step_meet_where_they_take_as_long() -> None:
    images = meeting(10**8, 8, 12e9, 0.001)
    assert images * 0.001 == pytest.approx(ring_seconds(10**8, 8, 12e9))


@pytest.mark.parametrize("name", ["cnn-15", "mobilenet-0.25"])
def test_weights_that_learn_are_those_of_the_network(name: str) -> None:
    """Not the statistics of batch norms, whose mean is all-reduced apart."""
    backend.start("cpu")
    backbone = find_backbone(name)
    built = network_of(backbone, backbone.smallest)
    counted = learning_weights(backbone)
    assert counted == sum(int(np.prod(variable.shape)) for variable in built.trainable_variables)
    assert counted < backbone.parameters


def test_a_row_has_a_column_for_each_link_and_number_of_replicas() -> None:
    backend.start("cpu")
    links = [f"{link}: {count}" for link in LINKS for count in REPLICAS]
    head, rule, row = table(["backbone", "weights that learn", "gradient, MB", *links], sizes(["cnn-15"]))
    assert head.count("|") == rule.count("|") == row.count("|") == 12
    assert row.startswith("| cnn-15 | 335,696 | 1.3 | 0.1 | 0.2 |")
