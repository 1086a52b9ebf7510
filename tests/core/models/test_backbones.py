"""The table of backbones against what Keras builds, at any size and from any source of weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES, SETS
from bccli.core.errors import DataError
from bccli.core.models.cards.card import templates
from bccli.core.weights.pretrained import BASE, cached_file
from tests.conftest import Bccli, rows_of
from tests.core.models.networks import (
    FAMILIES,
    LARGEST,
    build,
    difference,
    disturb,
    keras_preprocessing,
    pixels,
    settle,
    start,
    write_layers,
)

QUICK = ("cnn-15", "mobilenet-0.25")


SLOW = ("nasnet-mobile", "convnext-tiny", "resnet50v2", "mobilenet-v3-small")


def marked(*names: str, slow: tuple[str, ...]) -> list[Any]:
    """All names as parameters: the quick ones always, `slow` ones in CI, the others on demand."""
    return [
        name
        if name in QUICK
        else pytest.param(name, marks=pytest.mark.slow if name in slow else pytest.mark.full)
        for name in names
    ]


def test_a_set_has_the_twenty_networks_of_the_paper() -> None:
    names = SETS["cbis-20"]
    assert len(set(names)) == len(names) == 20
    assert all(BACKBONES[name].weights for name in names)


# Keras normalises inside EfficientNet: below, whole networks are compared.
@pytest.mark.parametrize(
    "name",
    [row.name for row in BACKBONES.values() if row.weights and row.preprocessing != "efficientnet"],
)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    start()
    from bccli.core.models.backbones import PREPROCESSING

    backbone, images = BACKBONES[name], pixels((31, 17))
    expected = keras_preprocessing(backbone)(images.copy())
    assert difference(PREPROCESSING[backbone.preprocessing](images), expected) < 1e-6


@pytest.mark.parametrize("name", marked(*(name for name in BACKBONES if name not in LARGEST), slow=()))
def test_every_network_is_its_row_at_224_and_runs_as_fast_as_exported(name: str, tmp_path: Path) -> None:
    """Layers, parameters, a batch, and LiteRT's features of it."""
    from bccli.core.models.backbones import build_extractor
    from bccli.core.models.tflite_export import TOLERANCE, export

    backbone, size = BACKBONES[name], (224, 224)
    network = build(backbone, size)
    assert len(network.layers) == backbone.layers
    assert network.count_params() == backbone.parameters
    extractor = build_extractor(backbone, network)
    if name == "efficientnet-v2-m":  # whose numbers grow beyond measure at first
        settle(network, extractor, pixels(size, 4))
    features = run(extractor, size)
    assert features.shape == (2, network.output_shape[-1])
    made = export(extractor, pixels(size), tmp_path)
    if name in NOT_EXPORTED:
        assert "LiteRT cannot compute" in made.error
    else:
        assert not made.error
        assert made.difference <= TOLERANCE


@pytest.mark.full
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_networks_are_their_rows(name: str) -> None:
    """Without an export: the converter wants more memory than many machines have."""
    from bccli.core.models.backbones import build_extractor

    network = build(BACKBONES[name], (224, 224))
    assert len(network.layers) == BACKBONES[name].layers
    assert network.count_params() == BACKBONES[name].parameters
    run(build_extractor(BACKBONES[name], network), (224, 224))


NOT_EXPORTED = ("resnext50", "resnext101")
"""LiteRT has no kernel for grouped convolutions as wide as theirs; predict starts TensorFlow for them."""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(pytest.param(name, (320, 320), marks=pytest.mark.full) for name in SETS["cbis-20"]),
        pytest.param("resnet50", (144, 96), marks=pytest.mark.slow),
        pytest.param("efficientnet-b0", (252, 252), marks=pytest.mark.slow),
        pytest.param("inception-v3", (512, 512), marks=pytest.mark.slow),
        ("mobilenet-0.25", (320, 320)),
        ("cnn-15", (144, 96)),
    ],
)
def test_networks_run_at_the_sizes_of_the_papers(name: str, size: tuple[int, int]) -> None:
    from bccli.core.models.backbones import build_extractor

    run(build_extractor(BACKBONES[name], build(BACKBONES[name], size)), size)


def run(extractor: Any, size: tuple[int, int]) -> np.ndarray:
    """The features of two images, which differ."""
    features = np.asarray(extractor(pixels(size), training=False))
    assert np.isfinite(features).all()
    assert difference(features[0], features[1]) > 1e-6
    return features


@pytest.mark.parametrize("name", marked("cnn-15", *FAMILIES, slow=FAMILIES))
def test_the_smallest_size_works_and_is_saved_whole(name: str, tmp_path: Path) -> None:
    """As in model.keras: safe mode, nothing that only this process knows. A smaller size is refused.

    The network is its row.
    """
    keras = start()
    from bccli.core.models.backbones import build_extractor

    backbone = BACKBONES[name]
    size = (backbone.smallest, backbone.smallest + 30)
    network = disturb(build(backbone, size))
    assert len(network.layers) == backbone.layers
    assert network.count_params() == backbone.parameters
    extractor = build_extractor(backbone, network)
    extractor.save(tmp_path / "model.keras")
    features = np.asarray(extractor(pixels(size), training=False))
    assert np.isfinite(features).all()
    keras.backend.clear_session()
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert difference(loaded(pixels(size), training=False), features) < 1e-6
    for size in ((backbone.smallest - 1, 200), (200, backbone.smallest - 1)):
        with pytest.raises(DataError, match=f"too small for {name}, .*{backbone.smallest}×.*larger --size"):
            build(backbone, size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(33, 47), (320, 320), (63, 331)])
def test_nasnet_takes_any_size(size: tuple[int, int]) -> None:
    network = build(BACKBONES["nasnet-mobile"], size)
    assert len(network.layers) == BACKBONES["nasnet-mobile"].layers
    assert np.isfinite(network(pixels(size, 1) / 127.5 - 1, training=False)).all()


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet-b0",
        *(
            pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.full)
            for name in FAMILIES
            if name not in ("efficientnet-b0", "resnext50")
        ),
    ],
)
def test_weights_by_name_and_by_file_make_the_same_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras's own network for weights="imagenet", fed with a file of ours, is ours in graph and output."""
    keras = start()
    from keras.src.utils import file_utils

    from bccli.core.models.backbones import PREPROCESSING

    backbone = BACKBONES[name]
    size = (backbone.size, backbone.size)
    source = disturb(build(backbone, size))
    file = write_layers(tmp_path / "weights.h5", source)
    asked: list[tuple[str, str]] = []

    def get_file(fname: str, origin: str, **options: object) -> str:
        asked.append((fname, origin))
        return str(file)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    keras.backend.clear_session()
    theirs = getattr(keras.applications, backbone.builder)(
        weights="imagenet", include_top=False, input_shape=(*reversed(size), 3), **dict(backbone.arguments)
    )
    assert asked == [(cached_file(backbone).name, f"{BASE}/{backbone.weights}")]
    ours = build(backbone, size, file)
    listed = [layer.name for layer in theirs.layers]
    if backbone.preprocessing == "efficientnet":
        assert listed.pop(3) == "rescaling_1"
    assert [layer.name for layer in ours.layers] == listed
    images = pixels(size, 1)
    maps = ours(PREPROCESSING[backbone.preprocessing](images), training=False)
    expected = theirs(keras_preprocessing(backbone)(images.copy()), training=False)
    assert difference(maps, expected) < 1e-5
    assert difference(source(PREPROCESSING[backbone.preprocessing](images), training=False), maps) < 1e-6
    if name in (*QUICK, "nasnet-mobile"):  # Keras itself refuses NASNet's at any other size
        other = build(backbone, (144, 96), file)
        assert all((a.numpy() == b.numpy()).all() for a, b in zip(other.weights, source.weights, strict=True))


def test_list_backbones_says_what_is_in_the_cache(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    place = cached_file(BACKBONES["nasnet-mobile"])
    assert place == tmp_path / "models" / "nasnet_mobile_no_top.h5"
    place.parent.mkdir()
    place.touch()
    rows = {row["name"]: row for row in rows_of(bccli("train", "--list-backbones").stdout)}
    assert list(rows) == [*BACKBONES, *templates()]
    assert rows["nasnet-mobile"] == {
        "name": "nasnet-mobile",
        "layers": "769",
        "parameters_millions": "4.27",
        "size": "224",
        "smallest": "32",
        "imagenet": "here",
        "licence": "Apache-2.0",
    }
    assert rows["vgg16"]["imagenet"] == "to fetch"
    assert rows["cnn-15"]["imagenet"] == "none"
