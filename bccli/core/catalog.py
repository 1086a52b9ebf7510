"""Facts in tables: which datasets and which backbones bccli knows."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from bccli.core.errors import UsageError


@dataclass(frozen=True)
class Dataset:
    """A dataset that `prepare` can read.

    `reader` and `loader` are "module:function" inside `bccli.core.datasets`. `classes` are in clinical
    order (normal before benign before malignant), empty where the data names them. `source` says what
    SOURCE is.
    """

    name: str
    title: str
    reader: str
    source: str
    classes: tuple[str, ...] = ()
    licence: str = ""
    options: frozenset[str] = frozenset()
    loader: str = "loading:load_files"


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "breakhis",
            "BreakHis: histology at 40×, 100×, 200× and 400×, 7,909 images",
            "breakhis:read_breakhis",
            "the folder that holds the downloaded BreaKHis_v1",
            ("benign", "malignant"),
            "CC BY 4.0",
            frozenset({"magnification"}),
        ),
        Dataset(
            "idc",
            "Invasive ductal carcinoma patches of 50×50 pixels, one folder per patient",
            "idc:read_idc",
            "the folder with the patients' folders",
            ("no_idc", "idc"),
            "CC0",
        ),
        Dataset(
            "folder",
            "Any images, one folder per class",
            "folder:read_folder",
            "the folder with the classes' folders",
            options=frozenset({"patient_regex"}),
        ),
        Dataset(
            "csv",
            "Any images, listed in a table: path,label and, where known, patient, split, fold, mask",
            "table:read_table",
            "the CSV file; its paths are relative to its folder",
        ),
        Dataset(
            "phantom",
            "Synthetic images with patients, slides and masks; nothing to download",
            "phantom:read_kind",
            "histology or mammography",
            ("benign", "malignant"),
            options=frozenset({"count", "patients"}),
            loader="phantom:load_phantom",
        ),
    )
}


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    `builder` names a function of `keras.applications` (or, for plain CNNs, of `bccli.core.models`) and
    `arguments` what it is called with. `preprocessing` is a row of `models.backbones.PREPROCESSING`.
    `size` is the native side in pixels, `weights` where Keras publishes the ImageNet weights without the
    top (below `models.weights.BASE`), empty where there are none.
    """

    name: str
    builder: str
    preprocessing: str
    size: int
    layers: int
    weights: str = ""
    arguments: tuple[tuple[str, float], ...] = ()
    smallest: int = 32


_KERAS = "tensorflow/keras-applications"


def _mobilenet(width: str, digits: str) -> Backbone:
    name = "mobilenet" if width == "1.0" else f"mobilenet-{width}"
    return Backbone(
        name,
        "MobileNet",
        "minus_one_to_one",
        224,
        86,
        f"{_KERAS}/mobilenet/mobilenet_{digits}_224_tf_no_top.h5",
        (("alpha", float(width)),),
    )


def _plain(layers: int) -> Backbone:
    return Backbone(f"cnn-{layers}", "plain_cnn", "minus_one_to_one", 96, 0, "", (("layers", layers),), 16)


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *(_plain(layers) for layers in range(15, 31)),
        Backbone(
            "vgg16",
            "VGG16",
            "caffe",
            224,
            19,
            f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "vgg19",
            "VGG19",
            "caffe",
            224,
            22,
            f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "resnet50",
            "ResNet50",
            "caffe",
            224,
            175,
            f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "efficientnet-b0",
            "EfficientNetB0",
            "efficientnet",
            224,
            237,
            "keras-applications/efficientnetb0_notop.h5",
        ),
        _mobilenet("0.25", "2_5"),
        _mobilenet("0.5", "5_0"),
        _mobilenet("0.75", "7_5"),
        _mobilenet("1.0", "1_0"),
    )
}


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the known name most like `name`, or nothing where none is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def find_backbone(name: str) -> Backbone:
    """The row of a backbone. Raises UsageError naming the nearest known name."""
    if name not in BACKBONES:
        raise UsageError(
            f"no backbone is called {name!r}{nearest(name, BACKBONES)}; "
            "bccli train --list-backbones shows all of them"
        )
    return BACKBONES[name]
