"""Models and weights that somebody made to do harm: nothing of them runs, and a sentence of ours says why.

The harm of each is to write, or to read, a file beside it.
"""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from bccli.core.errors import BccliError
from bccli.core.files import file_hash
from bccli.core.reading.archives import read_arrays
from bccli.core.reading.limits import MESSAGE
from bccli.core.weights.keras_files import ALLOWED, LAYERS, check_model, load_model
from bccli.core.weights.pretrained import find_weights
from tests.conftest import Bccli
from tests.core.data.test_stored_info import COMPLETE

Member = tuple[str, bytes]


def weights() -> bytes:
    """An HDF5 file with the weights of no layer."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as content:
        content.create_group("layers")
    return stream.getvalue()


def functional(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The description of a model with these layers."""
    return {
        "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {"name": "model", "layers": list(layers), "input_layers": [], "output_layers": []}, **more,
    }  # fmt: skip


def layer(
    name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    """A layer as Keras writes it."""
    return {
        "module": module,
        "class_name": name,
        "config": {"name": "a", **config},
        "registered_name": registered,
    }


def archive(path: Path, config: Any, *more: Member, weights: bytes = weights()) -> Path:
    """A .keras file."""
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("metadata.json", "{}")
        content.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        content.writestr("model.weights.h5", weights)
        for name, data in more:
            content.writestr(name, data)
    return path


def refused(read: Callable[[], object], *fragments: str) -> None:
    with pytest.raises(BccliError) as caught:
        read()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "safe_mode" not in sentence
    assert "unsafe" not in sentence
    assert len(sentence) < MESSAGE
    for fragment in fragments:
        assert fragment in sentence


WRITES = "open('touched', 'w').close()"
FUNCTION = {
    "class_name": "function",
    "module": "keras.utils",
    "registered_name": "get_file",
    "config": "get_file",
}
FETCH = {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:touched"}}
CALLS: list[dict[str, Any]] = [
    layer("Lambda", function={"class_name": "__lambda__", "config": {"code": WRITES, "defaults": None}}),
    layer("Lambda", function={"class_name": "function", "module": "__main__", "config": "payload"}),
    layer("Activation", activation=FUNCTION),
    layer("Dense", kernel_initializer=FETCH),
    layer("get_file", "keras.src.utils.file_utils"),
    layer("StringLookup", vocabulary="secret"),
    layer("TextVectorization", vocabulary="secret"),
    layer("TFSMLayer", filepath="secret"),
    layer("TorchModuleWrapper", module={"class_name": "__bytes__"}),
    layer("Dense", "keras.layers", "package>Dense"),
    layer("Dense", "builtins"),
    layer("eval", "builtins"),
    layer("system", "os"),
    layer("Dense", None),
    layer("TimeDistributed", layer=layer("Lambda")),
    layer("Map", "keras.src.ops.core", f={"class_name": "__lambda__"}),
    {**layer("Dense"), "class_name": ["Lambda"]},
    {**layer("Dense"), "build_config": layer("Lambda")},
]  # fmt: skip


@pytest.mark.parametrize("harm", CALLS, ids=lambda harm: str(harm["class_name"])[:20])
def test_a_model_may_name_known_layers_only(
    harm: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = archive(tmp_path / "model.keras", functional(layer("InputLayer"), harm))
    refused(lambda: load_model(file), f"{file}: is not loaded, as it ")
    weights_file = archive(tmp_path / "weights.keras", functional(harm))
    refused(lambda: find_weights(BACKBONES["cnn-15"], str(weights_file)), f"{weights_file}: ")
    assert not (tmp_path / "touched").exists()


def test_what_bccli_itself_writes_is_loaded(tmp_path: Path) -> None:
    known = [layer(name) for name in sorted(LAYERS)]
    operations = [
        layer("Sum", "keras.src.ops.numpy", "Sum"),
        layer("LayerScale", "keras.src.applications.convnext"),
    ]
    check_model(archive(tmp_path / "model.keras", functional(*known, *operations)))


@pytest.mark.parametrize(
    ("member", "fragment"),
    [
        (("../touched", b""), "which does not belong there"),
        (("/touched", b""), "which does not belong there"),
        (("C:touched", b""), "which does not belong there"),
        (("assets\\touched", b""), "which does not belong there"),
        (("assets/vocabulary.txt", b""), "which does not belong there"),
        (("config.json", b"{}"), "has a member twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_has_known_members_only(member: Member, fragment: str, tmp_path: Path) -> None:
    refused(lambda: load_model(archive(tmp_path / "model.keras", functional(), member)), fragment)


@pytest.mark.parametrize(
    "config", ["", "[]", "{", "[" * 100_000, '{"a": NaN}', "\ud800", '{"a":' * 5000 + "1" + "}" * 5000],
    ids=["empty", "list", "open", "nested", "nan", "surrogate", "deep"],
)  # fmt: skip
def test_a_description_is_shallow_json(config: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("config.json", config.encode("utf-8", "surrogatepass"))
        content.writestr("model.weights.h5", weights())
    refused(lambda: load_model(path), "description")


# Bombs


def zeros(path: Path, name: str, size: int) -> Path:
    """An archive with a member of so many zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content,
        content.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "metadata.json"])
def test_a_model_that_would_unpack_to_far_more_is_not_unpacked(name: str, tmp_path: Path) -> None:
    refused(
        lambda: load_model(zeros(tmp_path / "model.keras", name, 64 << 20)),
        f"of which {64 << 20:,} bytes would come",
    )


def test_an_index_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras", functional())
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x05\x06")
    data[place + 12 : place + 16] = struct.pack("<L", 2**31)
    path.write_bytes(data)
    refused(lambda: load_model(path), "has an index of more than")


def test_an_archive_of_many_members_is_refused(tmp_path: Path) -> None:
    members = [(f"{number}", b"") for number in range(10_001)]
    refused(lambda: load_model(archive(tmp_path / "model.keras", functional(), *members)), "10,004 members")


def spoilt_weights(harm: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as content:
        content.create_group("layers")
        harm(content)
    return stream.getvalue()


def external(content: h5py.File) -> None:
    content["layers"]["a"] = h5py.ExternalLink("secret.h5", "/layers")


def soft(content: h5py.File) -> None:
    content["layers"]["a"] = h5py.SoftLink("/elsewhere")


def stored_outside(content: h5py.File) -> None:
    content.create_dataset("layers/a", (4,), "f4", external=[("secret.bin", 0, 16)])


def virtual(content: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "a", (4,))
    content.create_virtual_dataset("layers/a", layout)


def endless(content: h5py.File) -> None:
    content.create_dataset("layers/a", (2**40,), "f4", chunks=(1024,))


def packed(content: h5py.File) -> None:
    content.create_dataset("layers/a", data=np.zeros(2**24, "f4"), compression="gzip")


HARMS = {
    external: "which is not in it", soft: "which is not in it", stored_outside: "in another file",
    virtual: "in another file", endless: "bytes of weights", packed: "bytes of weights",
}  # fmt: skip


@pytest.mark.parametrize(("harm", "fragment"), HARMS.items(), ids=[harm.__name__ for harm in HARMS])
def test_weights_are_in_their_file(
    harm: Callable[[h5py.File], object], fragment: str, tmp_path: Path
) -> None:
    data = spoilt_weights(harm)
    file = archive(tmp_path / "model.keras", functional(), weights=data)
    refused(lambda: load_model(file), f"{file}: is not loaded", fragment)
    for name in ("weights.h5", "other.weights.h5"):
        (tmp_path / name).write_bytes(data)
        refused(lambda name=name: find_weights(BACKBONES["cnn-15"], str(tmp_path / name)), name, fragment)


@pytest.mark.parametrize(
    "data", [b"", b"\x89HDF\r\n\x1a\n", weights()[:-200], b"\x89HDF\r\n\x1a\n" + b"\xff" * 500]
)
def test_weights_are_whole(data: bytes, tmp_path: Path) -> None:
    refused(
        lambda: load_model(archive(tmp_path / "model.keras", functional(), weights=data)),
        "no whole HDF5 file",
    )


# Arrays


class Touch:
    """What a pickle calls when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("touched", "w")


def test_a_pickle_in_an_array_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.npz"
    objects = np.empty(1, object)
    np.savez(path, a=np.zeros(2), b=objects)
    refused(lambda: read_arrays(path), "pickled objects, which are never read")
    for name in ("c.npy", "c.pkl"):
        with zipfile.ZipFile(path, "w") as content:
            content.writestr(name, pickle.dumps(Touch()))
        refused(lambda: read_arrays(path), f"{path}: cannot be read")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-1,)", "(2, 0, 99999999999999)", "()"])
def test_an_array_is_as_large_as_its_member(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    if "0" in shape.split(", ")[1:2]:
        assert read_arrays(path)["a"].size == 0
    else:
        refused(lambda: read_arrays(path), f"{path}: cannot be read")


def test_arrays_that_would_unpack_to_far_more_are_not_unpacked(tmp_path: Path) -> None:
    refused(lambda: read_arrays(zeros(tmp_path / "a.npz", "a.npy", 64 << 20)), "bytes would come")


# Through the command


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_strangers_run_with_code_in_its_model_is_refused(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    archive(run / "model.keras", functional(CALLS[0]))
    facts = {**COMPLETE, "files": {"model.keras": file_hash(run / "model.keras")}, "network_kept": True}
    (run / "run.json").write_text(json.dumps(facts))
    stderr = bccli("predict", run, tmp_path / "a.png", exit=3).stderr
    assert "'Lambda' of keras.layers, which is not on the list of layers that are loaded" in stderr
    assert "safe_mode" not in stderr
    assert not (tmp_path / "touched").exists()


@pytest.mark.tensorflow
def test_every_known_layer_is_keras_own() -> None:
    import keras

    assert [name for name in sorted(LAYERS) if not hasattr(keras.layers, name)] == []
    assert [name for name in ALLOWED["keras.initializers"] if not hasattr(keras.initializers, name)] == []
