"""Facts in tables: which datasets and which backbones bccli knows."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from bccli.core.errors import UsageError


@dataclass(frozen=True)
class Task:
    """What is asked of a dataset: its classes in clinical order, normal before benign before malignant.

    `field` is the column of a sample that holds the class; `joins` renames classes, and thereby joins
    them.
    """

    name: str
    classes: tuple[str, ...]
    field: str = "label"
    joins: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Edition:
    """One form in which a dataset is handed out, and how many images belong to it.

    `counts` are (where, class, images), "" for any: `where` is a value of the column `by`, of which an
    empty cell counts as `otherwise`. Most files of an edition have names like `sign`. `stems` are
    (prefix, last number) of files that are numbered from 001.
    """

    name: str
    counts: tuple[tuple[str, str, int], ...]
    by: str = "magnification"
    otherwise: str = ""
    sign: str = ""
    stems: tuple[tuple[str, int], ...] = ()
    patients: int | None = None

    @property
    def images(self) -> int:
        """How many images there are in all."""
        return sum(number for _, _, number in self.counts)


@dataclass(frozen=True)
class Dataset:
    """A dataset that `prepare` can read.

    `reader` and `loader` are "module:function" inside `bccli.core.datasets`. The first of `tasks` is the
    default; there are none where the data names its classes. `source` says what SOURCE is, `inside` is
    an expression for the names of its parts, the folders that lie in it. `home` is where to get the
    dataset. `--patients` is a list of them where `lists_patients`, else a number.
    """

    name: str
    title: str
    reader: str
    source: str
    tasks: tuple[Task, ...] = ()
    licence: str = ""
    options: frozenset[str] = frozenset()
    loader: str = "loading:load_files"
    magnifications: tuple[str, ...] = ()
    editions: tuple[Edition, ...] = ()
    inside: str = ""
    lists_patients: bool = False
    home: str = ""
    citation: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the default task, empty where the data names them."""
        return self.tasks[0].classes if self.tasks else ()

    def find_task(self, name: str) -> Task | None:
        """The task of this name, the default one for "". Raises UsageError naming the nearest."""
        for task in self.tasks:
            if name in ("", task.name):
                return task
        if name:
            known = [task.name for task in self.tasks]
            raise UsageError(
                f"--task {name}: {self.name} has {' and '.join(known) or 'no tasks'}{nearest(name, known)}"
            )
        return None


# Contract, section 5, whose sums are those of Spanhol et al. 2016: (benign, malignant). The ResNet-50 paper
# and the dataset's page print 652 for 625.
_BREAKHIS = {
    "40": (625, 1370),
    "100": (644, 1437),
    "200": (623, 1390),
    "400": (588, 1232),
}
_FOUR = ("normal", "benign", "in_situ", "invasive")


def _four(where: str, *numbers: int) -> tuple[tuple[str, str, int], ...]:
    return tuple((where, label, number) for label, number in zip(_FOUR, numbers, strict=True))


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "breakhis",
            "BreakHis: histology at 40×, 100×, 200× and 400×",
            "breakhis:read_breakhis",
            "the folder that holds the downloaded BreaKHis_v1",
            (
                Task("binary", ("benign", "malignant")),
                Task(
                    "subtypes",
                    (
                        "adenosis",
                        "fibroadenoma",
                        "phyllodes_tumor",
                        "tubular_adenoma",
                        "ductal_carcinoma",
                        "lobular_carcinoma",
                        "mucinous_carcinoma",
                        "papillary_carcinoma",
                    ),
                    field="subtype",
                ),
            ),
            "CC BY 4.0",
            frozenset({"task", "magnification", "test_magnification"}),
            magnifications=("40", "100", "200", "400"),
            editions=(
                Edition(
                    "BreakHis",
                    tuple(
                        (where, label, number)
                        for where, numbers in _BREAKHIS.items()
                        for label, number in zip(("benign", "malignant"), numbers, strict=True)
                    ),
                ),
            ),
            inside=r"BreaKHis_v1|histology_slides|breast|benign|malignant",
            home="https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/",
            citation="Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264",
        ),
        Dataset(
            "bach",
            "Bioimaging2015, its extension to 1,568 images, and ICIAR2018 BACH: histology at 200×",
            "bach:read_bach",
            "the downloaded folder, such as ICIAR2018_BACH_Challenge or breasthistology",
            (
                Task("four", _FOUR),
                Task(
                    "carcinoma",
                    ("non_carcinoma", "carcinoma"),
                    joins=(
                        ("normal", "non_carcinoma"),
                        ("benign", "non_carcinoma"),
                        ("in_situ", "carcinoma"),
                        ("invasive", "carcinoma"),
                    ),
                ),
            ),
            "CC BY-NC-ND 4.0 (ICIAR2018)",
            frozenset({"task", "patients"}),
            editions=(
                # The challenge's page "Dataset" and the README of its download.
                Edition(
                    "ICIAR2018 BACH",
                    _four("", 100, 100, 100, 100),
                    sign=r"(n|b|is|iv)\d{3}",
                    stems=(("n", 100), ("b", 100), ("is", 100), ("iv", 100)),
                ),
                # Training: table I of the hybrid CNN-RNN paper, row "Initial"; the test sets of 20 and 16:
                # Araújo et al. 2017. Their classes are in the download only.
                Edition(
                    "Bioimaging2015",
                    (*_four("train", 55, 69, 63, 62), ("test", "", 36)),
                    by="split",
                    otherwise="train",
                    sign=r"t?\d+",
                ),
                # Table I of the hybrid CNN-RNN paper, rows "Extended" and "Overall".
                Edition("the extension of Bioimaging2015", _four("", 273, 451, 339, 256)),
                Edition("Bioimaging2015 with its extension", _four("", 328, 520, 402, 318)),
            ),
            lists_patients=True,
            inside=r"Photos|Training_data|Normal|Benign|In ?[Ss]itu|Invasive",
            home="https://iciar2018-challenge.grand-challenge.org/ (doi:10.5281/zenodo.3632035); "
            "Bioimaging2015: https://rdm.inesctec.pt/dataset/nis-2017-003",
            citation="Aresta et al. 2019, doi:10.1016/j.media.2019.05.010; "
            "Araújo et al. 2017, doi:10.1371/journal.pone.0177544",
        ),
        Dataset(
            "databiox",
            "Databiox: invasive ductal carcinoma of grade I, II and III at 4×, 10×, 20× and 40×",
            "databiox:read_databiox",
            "the folder that holds BC_IDC_Grade_1, BC_IDC_Grade_2 and BC_IDC_Grade_3",
            (Task("grade", ("grade_1", "grade_2", "grade_3")),),
            "not stated",
            frozenset({"magnification", "test_magnification"}),
            magnifications=("4", "10", "20", "40"),
            # BCNet paper, section 3.1; it gives no numbers per grade.
            editions=(Edition("Databiox", (("", "", 922),), patients=124),),
            inside=r"BC_IDC_Grade_[123]",
            home="https://databiox.com/datasets/",
            citation="Bolhasani et al. 2020, doi:10.1016/j.imu.2020.100341",
        ),
        Dataset(
            "idc",
            "Invasive ductal carcinoma patches of 50×50 pixels, one folder per patient",
            "idc:read_idc",
            "the folder with the patients' folders, such as IDC_regular_ps50_idx5",
            (Task("idc", ("no_idc", "idc")),),
            "CC0",
            # Counted by many in the download, whose 555,048 files hold each patch twice.
            editions=(Edition("IDC", (("", "no_idc", 198738), ("", "idc", 78786)), patients=279),),
            inside=r"\d{4,6}|IDC_regular_ps50_idx5",
            home="https://www.kaggle.com/datasets/paultimothymooney/breast-histopathology-images",
            citation="Cruz-Roa et al. 2014, doi:10.1117/12.2043872; "
            "Janowczyk and Madabhushi 2016, doi:10.4103/2153-3539.186902",
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
            (Task("binary", ("benign", "malignant")),),
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
