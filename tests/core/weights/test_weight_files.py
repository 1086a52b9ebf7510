"""`--weights FILE`: every kind of file that Keras writes, and what else people have under such a name."""

import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from bccli.core.errors import WeightsError
from tests.core.models.networks import build, disturb, start, write_layers

SIZE = (48, 40)
MOBILENET = BACKBONES["mobilenet-0.25"]
PLAIN = BACKBONES["cnn-15"]


def values(network: Any) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.weights]


def same(network: Any, expected: list[np.ndarray]) -> bool:
    return all((a == b).all() for a, b in zip(values(network), expected, strict=True))


def write_model(path: Path, network: Any) -> Path:
    """A whole model as Keras wrote it before version 3."""
    made = path.with_suffix(".h5")
    network.save(made)
    return made.rename(path)


def write_tree(path: Path, network: Any) -> Path:
    made = path.with_suffix(".weights.h5")
    network.save_weights(made)
    return made.rename(path)


def write_archive(path: Path, network: Any) -> Path:
    made = path.with_suffix(".keras")
    network.save(made)
    return made.rename(path)


def refused(backbone: Any, file: Path, *fragments: str) -> None:
    with pytest.raises(WeightsError) as caught:
        build(backbone, SIZE, file)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for fragment in (f"{file}: does not fit {backbone.name}: ", *fragments, "complete file without its top"):
        assert fragment in sentence


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "write",
    [
        write_layers,
        write_archive,
        *(pytest.param(way, marks=pytest.mark.slow) for way in (write_model, write_tree)),
    ],
)
def test_files_of_keras_fit_whatever_they_are_called(
    write: Callable[[Path, Any], Path], tmp_path: Path
) -> None:
    for backbone in (MOBILENET, PLAIN):
        source = disturb(build(backbone, SIZE))
        expected, file = values(source), write(tmp_path / f"{backbone.name}.bin", source)
        assert same(build(backbone, (96, 64), file), expected)


def test_layers_go_by_name_where_there_is_one_and_else_in_order(tmp_path: Path) -> None:
    """Files of Keras 1 and 2 list other names for layers that nobody named."""
    import h5py

    source = disturb(build(MOBILENET, SIZE))
    expected, file = values(source), write_layers(tmp_path / "weights.h5", source)
    with h5py.File(file, "a") as content:
        content.attrs["layer_names"] = list(reversed(content.attrs["layer_names"]))
    assert same(build(MOBILENET, SIZE, file), expected)
    source = disturb(build(PLAIN, SIZE))
    expected, file = values(source), write_layers(tmp_path / "plain.h5", source)
    with h5py.File(file, "a") as content:
        names = list(content.attrs["layer_names"])
        for name in names:
            content.move(name, f"old_{name}")
        content.attrs["layer_names"] = [f"old_{name}" for name in names]
    assert same(build(PLAIN, SIZE, file), expected)


def test_real_files_of_keras_fit(real_weights: Path) -> None:
    for name in ("mobilenet-0.25", "mobilenet-0.75"):
        backbone = BACKBONES[name]
        file = real_weights / "models" / backbone.weights.rpartition("/")[2]
        network = build(backbone, SIZE, file)
        expected = values(network)
        network.load_weights(file)
        assert same(network, expected)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (pickle.dumps({"weights": 1}), "a pickle, which bccli never opens"),
        (b"weights", "neither HDF5 nor a .keras file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "cut short at 104 bytes"),
    ],
)
def test_what_holds_no_weights_is_refused_before_any_data_is_read(
    tmp_path: Path, content: bytes, fragment: str
) -> None:
    from bccli.core.weights.pretrained import find_weights

    file = tmp_path / "weights.h5"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(fragment)):
        find_weights(MOBILENET, str(file))


def test_a_damaged_file_in_the_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bccli.core.weights.pretrained import cached_file, find_weights

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    file = cached_file(MOBILENET)
    file.parent.mkdir()
    file.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="web page") as caught:
        find_weights(MOBILENET, "imagenet")
    assert str(file) in str(caught.value)


def test_other_archives_and_hdf5_files_are_refused(tmp_path: Path) -> None:
    import h5py

    start()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    (tmp_path / "weights.pt").write_bytes(stream.getvalue())
    refused(MOBILENET, tmp_path / "weights.pt", "an archive, but not a .keras file")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    refused(MOBILENET, tmp_path / "other.h5", "an HDF5 file without a network's layers")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("write", [write_layers, write_tree, write_archive])
def test_a_file_cut_short_is_refused(write: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    file = write(tmp_path / "weights.bin", build(PLAIN, SIZE))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    refused(PLAIN, file, f"cut short at {len(content) // 2:,} bytes")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """The first layer that differs is named, with both shapes; for Keras 3's files in Keras's words."""
    other = build(BACKBONES["mobilenet-0.5"], SIZE)
    layers = write_layers(tmp_path / "layers.h5", other)
    tree = write_tree(tmp_path / "tree.h5", other)
    refused(MOBILENET, layers, "kernel of conv1 is 3×3×3×8, that of conv1 in the file 3×3×3×16")
    refused(MOBILENET, tree, "conv1: ", "(3, 3, 3, 16)")
    refused(PLAIN, layers, "kernel of conv2d_1 is 3×3×16×32, that of conv_dw_1 in the file 3×3×16×1")
    short = write_layers(tmp_path / "short.h5", build(BACKBONES["cnn-16"], SIZE))
    refused(PLAIN, short, "in the file")


def test_a_file_with_its_top_is_refused(tmp_path: Path) -> None:
    keras = start()
    whole = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(224, 224, 3))
    layers = write_layers(tmp_path / "layers.h5", whole)
    tree = write_tree(tmp_path / "tree.h5", whole)
    refused(MOBILENET, layers, "conv_preds in it is not the network's; it may have a top")
    refused(MOBILENET, tree, "has 137 arrays of weights, the network 135; it may have a top")


def test_a_file_with_a_layer_missing_is_refused(tmp_path: Path) -> None:
    import h5py

    file = write_layers(tmp_path / "layers.h5", build(MOBILENET, SIZE))
    with h5py.File(file, "a") as content:
        names = [name for name in content.attrs["layer_names"] if name != "conv_pw_13_bn"]
        content.attrs["layer_names"] = names
    refused(MOBILENET, file, "it has 53 layers with weights, the network 54")


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    import h5py

    file = write_layers(tmp_path / "layers.h5", build(PLAIN, SIZE))
    with h5py.File(file, "a") as content:
        del content["conv2d"]
        content["conv2d"] = h5py.ExternalLink("elsewhere.h5", "/conv2d")
    refused(PLAIN, file, "conv2d, which is not in it")


def test_a_file_is_looked_at_once_and_not_with_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bccli.core.weights import pretrained

    looked: list[Path] = []
    monkeypatch.setattr(pretrained, "check_file", lambda file, name: looked.append(file))
    file = tmp_path / "a.weights.h5"
    file.write_bytes(b"these")
    right = hashlib.sha256(b"these").hexdigest()
    for wanted in ("0" * 64, right[:-1], "x"):
        with pytest.raises(WeightsError, match=f"has the SHA-256 {right} and not {wanted}; ask whoever"):
            pretrained.find_weights(PLAIN, f"{file}#sha256={wanted}")
    assert looked == []
    for wanted in (right, right.upper()):
        assert pretrained.find_weights(PLAIN, f"{file}#sha256={wanted}").file == file
    assert looked == [file]
    file.write_bytes(b"others")
    pretrained.find_weights(PLAIN, str(file))
    assert looked == [file, file]
