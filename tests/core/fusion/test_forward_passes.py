"""The fusing networks: Keras with padding against NumPy without, and both against loops over numbers."""

import math

import numpy as np
import pytest

from bccli.core.fusion import forward_passes as passes
from bccli.core.fusion.methods import FUSIONS, Network
from bccli.core.models.dense.dense_head import head_arrays
from bccli.core.models.dense.layers import head_scores
from bccli.core.models.heads import HEADS, Head, build_head
from bccli.core.models.inference_mode import standardise_by

WIDTH, CLASSES = 6, 3


def literal_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Hidden states (steps, units) of one sequence (steps, width), number by number."""
    units = recurrent.shape[0]
    hidden, cell, states = [0.0] * units, [0.0] * units, []

    def gate(step: int, number: int) -> float:
        total = float(bias[number])
        total += sum(float(x[step, k]) * float(kernel[k, number]) for k in range(x.shape[1]))
        return total + sum(hidden[k] * float(recurrent[k, number]) for k in range(units))

    def squash(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    for step in range(len(x)):
        gates = [[gate(step, part * units + unit) for unit in range(units)] for part in range(4)]
        cell = [
            squash(gates[1][unit]) * cell[unit] + squash(gates[0][unit]) * math.tanh(gates[2][unit])
            for unit in range(units)
        ]
        hidden = [squash(gates[3][unit]) * math.tanh(cell[unit]) for unit in range(units)]
        states.append(hidden)
    return np.array(states)


def weights(rng: np.random.Generator, width: int, units: int) -> dict[str, np.ndarray]:
    shapes = {"kernel": (width, 4 * units), "recurrent": (units, 4 * units), "bias": (4 * units,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_one_lstm_is_what_its_equations_say() -> None:
    rng = np.random.default_rng(0)
    own = weights(rng, WIDTH, 4)
    x = rng.normal(size=(2, 5, WIDTH)).astype(np.float32)
    found = passes.lstm(x, {f"a/{name}": value for name, value in own.items()}, "a")
    assert found.shape == (2, 5, 4)
    for states, sequence in zip(found, x, strict=True):
        assert states == pytest.approx(literal_lstm(sequence, **own), abs=1e-5)


def test_the_stack_reads_in_both_directions() -> None:
    """Each layer joins what both directions say of each patch; the last one where each of them ends."""
    rng = np.random.default_rng(1)
    stack = [(weights(rng, width, 3), weights(rng, width, 3)) for width in (WIDTH, 6, 6)]
    arrays = {
        f"lstm/{number}/{name}/{part}": value
        for number, pair in enumerate(stack)
        for name, half in zip(("forward", "backward"), pair, strict=True)
        for part, value in half.items()
    }
    kernel, bias = rng.normal(size=(6, CLASSES)), rng.normal(size=CLASSES)
    mean, deviation = rng.normal(size=WIDTH), rng.uniform(0.5, 2, size=WIDTH)
    arrays |= {"mean": mean, "deviation": deviation, "scores/kernel": kernel, "scores/bias": bias}
    features = rng.normal(size=(4, WIDTH))
    x = (features - mean) / deviation
    for forward, backward in stack:
        there, back = literal_lstm(x, **forward), literal_lstm(x[::-1], **backward)
        x, ends = np.hstack([there, back[::-1]]), np.hstack([there[-1], back[-1]])
    assert passes.bilstm(features[None], arrays, 3)[0] == pytest.approx(ends @ kernel + bias, abs=1e-4)


@pytest.mark.parametrize("name", [name for name, way in FUSIONS.items() if isinstance(way, Network)])
def test_keras_with_padding_is_numpy_without(name: str) -> None:
    way = FUSIONS[name]
    assert isinstance(way, Network)
    rng = np.random.default_rng(2)
    sizes = (4,) * len(way.sizes)
    network = way.build(WIDTH, sizes, 0.5, CLASSES)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    standardise_by(network, *rng.uniform(0.5, 2, (2, WIDTH)).astype(np.float32))
    bags = [rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (5, 1, 3)]
    padded = np.full((3, 7, WIDTH + 1), 9, np.float32)  # whatever stands where there is no patch
    padded[:, :, -1] = 0
    for row, bag in zip(padded, bags, strict=True):
        row[: len(bag), :-1], row[: len(bag), -1] = bag, 1
    expected = network(padded, training=False).numpy()
    found = [way.compute(bag[None], way.arrays(network), len(sizes))[0] for bag in bags]
    assert np.array(found) == pytest.approx(expected, abs=1e-5)
    assert expected.shape == (3, CLASSES)
    few = network(padded[:, :5], training=False).numpy()
    assert few == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_the_patch_head_is_that_of_keras(kind: str, standardised: bool) -> None:
    rng = np.random.default_rng(3)
    head = build_head(Head(dense=(5, 4), dropout=0.3, kind=kind, standardised=standardised), WIDTH, CLASSES)
    head.set_weights([rng.uniform(0.1, 1, value.shape) for value in head.get_weights()])
    layers, arrays = head_arrays(head)
    features = rng.normal(size=(8, WIDTH)).astype(np.float32)
    expected = head(features, training=False).numpy()
    assert head_scores(features, arrays, layers) == pytest.approx(expected, abs=1e-5)
