"""Facts in tables: which datasets and which backbones bccli knows."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from bccli.core.errors import UsageError


@dataclass(frozen=True)
class Task:
    """What is asked of a dataset: its classes in clinical order, normal before benign before malignant.

    `field` is the column of a sample that holds the class; `joins` renames classes, and thereby joins
    them. `tree` is how `hierarchy` orders them unless it is told otherwise (see `label_tree`). `published`
    is "module:function" inside `bccli.core.datasets`, which says of a sample whether it is train or test in a
    split that others publish figures on, empty where it is neither.
    """

    name: str
    classes: tuple[str, ...]
    field: str = "label"
    joins: tuple[tuple[str, str], ...] = ()
    tree: str = ""
    published: str = ""


@dataclass(frozen=True)
class Edition:
    """One form in which a dataset is handed out, and how many images belong to it.

    `counts` are (where, class, images), "" for any: `where` is a value of the column `by`, of which an
    empty cell counts as `otherwise`. Most files of an edition have names like `sign`. `stems` are
    (prefix, last number) of files that are numbered from 001. With `tasks` or a `protocol`, only they have so
    many images.
    """

    name: str
    counts: tuple[tuple[str, str, int], ...]
    by: str = "magnification"
    otherwise: str = ""
    sign: str = ""
    stems: tuple[tuple[str, int], ...] = ()
    patients: int | None = None
    tasks: tuple[str, ...] = ()
    protocol: str = ""

    @property
    def images(self) -> int:
        """How many images there are in all."""
        return sum(number for _, _, number in self.counts)


@dataclass(frozen=True)
class Dataset:
    """A dataset that `prepare` can read.

    `reader` and `loader` are "module:function" inside `bccli.core.datasets`. The first of `tasks` is the
    default; there are none where the data names its classes. `source` says what SOURCE is, `inside` is
    an expression for the names of its parts, the folders that lie in it, `index` one for the name of a file
    that has to lie in it. `home` is where to get the dataset. `--patients` is a list of them where
    `lists_patients`, else a number. Its masks are thin lines where they are `contours`; its images come with
    masks that no file holds where it `draws_masks`, and are `films` that were scanned.
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
    index: str = ""
    lists_patients: bool = False
    contours: bool = False
    draws_masks: bool = False
    films: bool = False
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
_MASSES = (
    ("train", "benign", 681),
    ("train", "malignant", 637),
    ("test", "benign", 231),
    ("test", "malignant", 147),
)
_CALCIFICATIONS = (
    ("train", "benign", 1002),
    ("train", "malignant", 544),
    ("test", "benign", 197),
    ("test", "malignant", 129),
)
_THREE = ("normal", "benign", "cancer")
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
                    tree="benign(adenosis, fibroadenoma, phyllodes_tumor, tubular_adenoma), "
                    "malignant(ductal_carcinoma, lobular_carcinoma, mucinous_carcinoma, papillary_carcinoma)",
                ),
                Task(
                    "eva",
                    ("fibroadenoma", "tubular_adenoma", "ductal_carcinoma", "mucinous_carcinoma"),
                    field="subtype",
                    tree="benign(fibroadenoma, tubular_adenoma), "
                    "malignant(ductal_carcinoma, mucinous_carcinoma)",
                    published="eva:breakhis_split",
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
                    tasks=("binary", "subtypes"),
                ),
                # Of kaiko-eva's four subtypes, at the one magnification that it takes.
                Edition(
                    "BreakHis as kaiko-eva takes it",
                    (("40", "benign", 402), ("40", "malignant", 1069)),
                    tasks=("eva",),
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
                Task("four", _FOUR, tree="non_carcinoma(normal, benign), carcinoma(in_situ, invasive)"),
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
                Task(
                    "eva",
                    _FOUR,
                    tree="non_carcinoma(normal, benign), carcinoma(in_situ, invasive)",
                    published="eva:bach_split",
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
            (Task("grade", ("grade_1", "grade_2", "grade_3"), tree="grade_1, higher(grade_2, grade_3)"),),
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
            "cbis-ddsm",
            "CBIS-DDSM: lesions on mammograms with masks, masses or calcifications",
            "cbis_ddsm:read_cbis",
            "the folder that holds the four CSV files and the images, DICOM or JPEG",
            tuple(Task(name, ("benign", "malignant")) for name in ("masses", "calcifications", "all")),
            "CC BY 3.0",
            frozenset({"task"}),
            loader="cbis_ddsm:load_lesion",
            editions=(
                # Masses: table 4 of the CBIS-DDSM paper; calcifications: counted in the CSV files.
                Edition("the masses of CBIS-DDSM", _MASSES, by="split", tasks=("masses",)),
                Edition(
                    "the calcifications of CBIS-DDSM", _CALCIFICATIONS, by="split", tasks=("calcifications",)
                ),
                Edition(
                    "CBIS-DDSM",
                    tuple(
                        (where, label, masses + calcifications)
                        for (where, label, masses), (_, _, calcifications) in zip(
                            _MASSES, _CALCIFICATIONS, strict=True
                        )
                    ),
                    by="split",
                    tasks=("all",),
                ),
            ),
            index=r"(mass|calc)_case_description_.*\.csv",
            inside=r"CBIS-DDSM|csv|jpeg|(Mass|Calc)-(Training|Test)_P_\d+_.*",
            films=True,
            home="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
            citation="Lee et al. 2017, doi:10.1038/sdata.2017.177",
        ),
        Dataset(
            "mini-ddsm",
            "Mini-DDSM: four films of each patient with contours of tumours, and ages",
            "mini_ddsm:read_mini_ddsm",
            "the folder that holds the index (CSV or XLSX) and Benign, Cancer, Normal; or the index",
            (
                Task("three", _THREE, tree="normal, tumor(benign, cancer)"),
                Task("tumor", ("normal", "tumor"), joins=(("benign", "tumor"), ("cancer", "tumor"))),
                Task("malignancy", ("benign", "cancer")),
            ),
            "research use",
            frozenset({"task"}),
            contours=True,
            editions=tuple(
                # Counted in the index of all 7,808 films; the thesis goes by the film.
                Edition(
                    f"Mini-DDSM, labelled by the {unit}",
                    (("", "normal", normal), ("", "benign", 1402), ("", "cancer", 1428)),
                    patients=1952,
                    tasks=("three", "tumor"),
                    protocol=protocol,
                )
                for protocol, unit, normal in (("paper", "film", 4978), ("honest", "breast", 4888))
            ),
            index=r".*(DataWMask|Dataset|Mini|DDSM).*\.(csv|xlsx)",
            inside=r"Benign|Cancer|Normal|\d{4}",
            films=True,
            home="https://www.kaggle.com/datasets/cheddad/miniddsm2",
            citation="Lekamlage et al. 2020, doi:10.1145/3441369.3441370",
        ),
        Dataset(
            "mias",
            "MIAS: films with circles around their abnormalities",
            "mias:read_mias",
            "the folder that holds Info.txt and the images",
            (
                Task("three", ("normal", "benign", "malignant"), tree="normal, abnormal(benign, malignant)"),
                Task(
                    "abnormal",
                    ("normal", "abnormal"),
                    joins=(("benign", "abnormal"), ("malignant", "abnormal")),
                ),
                Task("severity", ("benign", "malignant")),
            ),
            "research use",
            frozenset({"task"}),
            loader="mias:load_film",
            # The database's own notes; they give no numbers per class.
            editions=(Edition("MIAS", (("", "", 322),), patients=161, tasks=("three", "abnormal")),),
            index=r"Info\.txt",
            inside=r"all-mias",
            films=True,
            home="http://peipa.essex.ac.uk/info/mias.html",
            citation="Suckling et al. 1994, Excerpta Medica 1069, 375-378",
        ),
        Dataset(
            "inbreast",
            "INbreast: digital films with BI-RADS assessments and contours of lesions",
            "inbreast:read_inbreast",
            "the folder that holds INbreast.csv, AllDICOMs and AllXML",
            (
                # BI-RADS 1 to 3 against 4 to 6; 1, 2 and 3, 4 to 6; and whether a mass is outlined.
                Task("severity", ("benign", "malignant"), joins=(("normal", "benign"),)),
                Task("three", ("normal", "benign", "malignant"), tree="normal, abnormal(benign, malignant)"),
                Task("mass", ("no_mass", "mass")),
            ),
            "research use, on request from its authors",
            frozenset({"task"}),
            loader="inbreast:load_film",
            editions=(
                # Counted in INbreast.csv; a class distribution published with another reader of it has the
                # same. The 115 cases are fewer patients, as some have two.
                Edition(
                    "INbreast",
                    (("", "normal", 67), ("", "benign", 243), ("", "malignant", 100)),
                    tasks=("severity", "three"),
                ),
            ),
            index=r"INbreast.*\.(csv|xlsx)",
            inside=r"AllDICOMs|AllXML|AllROI|MedicalReports|PectoralMuscle",
            home="http://medicalresearch.inescporto.pt/breastresearch/",
            citation="Moreira et al. 2012, doi:10.1016/j.acra.2011.09.014",
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
            options=frozenset({"patient_regex", "patients"}),
            lists_patients=True,
        ),
        Dataset(
            "csv",
            "Any images, listed in a table: path,label and, where known, patient, split, fold, mask",
            "table:read_table",
            "the CSV file; its paths are relative to its folder",
            options=frozenset({"images"}),
        ),
        Dataset(
            "phantom",
            "Synthetic images with patients, slides and masks; nothing to download",
            "phantom:read_kind",
            "histology or mammography",
            (Task("binary", ("benign", "malignant")),),
            options=frozenset({"count", "patients"}),
            loader="phantom:load_phantom",
            draws_masks=True,
        ),
    )
}


def built_in_tree(dataset: str, classes: tuple[str, ...]) -> str:
    """The text of a dataset's own tree of these classes, empty where it has none."""
    tasks = DATASETS[dataset].tasks if dataset in DATASETS else ()
    return next((task.tree for task in tasks if set(task.classes) == set(classes)), "")


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    `builder` names a function of `keras.applications`, called without weights, or one of
    `models.backbones.BUILDERS`; `arguments` are what it is called with. What it builds is the only graph
    there is, wherever the weights come from: `layers` is the length of its `model.layers`, among which γ
    counts, and `preprocessing` is the row of `models.backbones.PREPROCESSING` that it expects in front of
    it, "none" where Keras builds normalising layers in. `size` is the native side and `smallest` the
    smallest one, in pixels; `licence` is that of the ImageNet weights, `weights` where Keras publishes them
    without the top (below `models.weights.BASE`), both empty where there are none. Keras keeps them under
    the last part of that path, or as `cached`.
    """

    name: str
    builder: str
    preprocessing: str
    size: int
    layers: int
    parameters: int
    licence: str = ""
    weights: str = ""
    arguments: tuple[tuple[str, float], ...] = ()
    smallest: int = 32
    cached: str = ""


_KERAS = "tensorflow/keras-applications"
_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_RESNET = f"{_KERAS}/resnet/{{}}_{_NOTOP}"


def _family(
    preprocessing: str,
    licence: str,
    weights: str,
    *members: tuple[str, str, int, int, int],
    smallest: int = 32,
    cached: str = "",
) -> tuple[Backbone, ...]:
    """Rows of (name, builder, size, layers, parameters).

    {} in `weights` and `cached` is what a name ends on: b0 of efficientnet-b0, all of vgg16.
    """
    rows = []
    for name, builder, size, layers, parameters in members:
        end = name.rpartition("-")[2]
        facts = preprocessing, size, layers, parameters, licence, weights.format(end)
        rows.append(Backbone(name, builder, *facts, smallest=smallest, cached=cached.format(end)))
    return tuple(rows)


def _mobilenet(width: str, digits: str, parameters: int) -> Backbone:
    name = "mobilenet" if width == "1.0" else f"mobilenet-{width}"
    weights = f"{_KERAS}/mobilenet/mobilenet_{digits}_224_tf_no_top.h5"
    facts = "minus_one_to_one", 224, 86, parameters, "Apache-2.0", weights
    return Backbone(name, "MobileNet", *facts, (("alpha", float(width)),))


def _resnext(depth: int, layers: int, parameters: int) -> Backbone:
    # Keras has these files and their hashes beside those of its ResNets, though no builder for them.
    facts = "torch", 224, layers, parameters, "BSD-3-Clause", _RESNET.format(f"resnext{depth}")
    return Backbone(f"resnext{depth}", "resnext", *facts, (("depth", depth),))


def _plain(layers: int, parameters: int) -> Backbone:
    listed = 1 + 3 * (layers - 5) + 4  # the input, convolutions with normalisation and ReLU, the poolings
    facts = "minus_one_to_one", 96, listed, parameters, "", ""
    return Backbone(f"cnn-{layers}", "plain_cnn", *facts, (("layers", layers),), 16)


# Parameters of the plain CNNs of 15 to 30 layers.
_PLAIN = (
    *(336_880, 374_000, 394_928, 404_272, 487_600, 524_720, 545_648, 554_992),
    *(638_320, 675_440, 696_368, 705_712, 789_040, 826_160, 847_088, 856_432),
)

# Licences: those that Keras's documentation names for the weights it ported, or of the repository that
# published them (fb.resnet.torch and ResNeXt, google/automl, facebookresearch/ConvNeXt, tensorflow/models).
BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *(_plain(layers, parameters) for layers, parameters in enumerate(_PLAIN, 15)),
        *_family(
            "caffe",
            "CC BY 4.0",
            f"{_KERAS}/{{0}}/{{0}}_{_NOTOP}",
            ("vgg16", "VGG16", 224, 19, 14_714_688),
            ("vgg19", "VGG19", 224, 22, 20_024_384),
        ),
        *_family(
            "caffe",
            "MIT",
            _RESNET,
            ("resnet50", "ResNet50", 224, 175, 23_587_712),
            ("resnet101", "ResNet101", 224, 345, 42_658_176),
            ("resnet152", "ResNet152", 224, 515, 58_370_944),
        ),
        *_family(
            "minus_one_to_one",
            "BSD-3-Clause",
            _RESNET,
            ("resnet50v2", "ResNet50V2", 224, 190, 23_564_800),
            ("resnet101v2", "ResNet101V2", 224, 377, 42_626_560),
            ("resnet152v2", "ResNet152V2", 224, 564, 58_331_648),
        ),
        _resnext(50, 191, 23_048_128),
        _resnext(101, 378, 42_266_560),
        *_family(
            "torch",
            "BSD-3-Clause",
            f"{_KERAS}/densenet/{{}}_{_NOTOP}",
            ("densenet121", "DenseNet121", 224, 427, 7_037_504),
            ("densenet169", "DenseNet169", 224, 595, 12_642_880),
            ("densenet201", "DenseNet201", 224, 707, 18_321_984),
        ),
        *_family(
            "minus_one_to_one",
            "Apache-2.0",
            f"{_KERAS}/inception_v3/inception_v3_{_NOTOP}",
            ("inception-v3", "InceptionV3", 299, 311, 21_802_784),
            smallest=75,
        ),
        *_family(
            "minus_one_to_one",
            "Apache-2.0",
            f"{_KERAS}/inception_resnet_v2/inception_resnet_v2_{_NOTOP}",
            ("inception-resnet-v2", "InceptionResNetV2", 299, 780, 54_336_736),
            smallest=75,
        ),
        *_family(
            "minus_one_to_one",
            "MIT",
            f"{_KERAS}/xception/xception_{_NOTOP}",
            ("xception", "Xception", 299, 132, 20_861_480),
            smallest=71,
        ),
        *_family(
            "minus_one_to_one",
            "Apache-2.0",
            f"{_KERAS}/nasnet/NASNet-{{}}-no-top.h5",
            ("nasnet-large", "NASNetLarge", 331, 1039, 84_916_818),
            ("nasnet-mobile", "NASNetMobile", 224, 769, 4_269_716),
            cached="nasnet_{}_no_top.h5",
        ),
        _mobilenet("0.25", "2_5", 218_544),
        _mobilenet("0.5", "5_0", 829_536),
        _mobilenet("0.75", "7_5", 1_832_976),
        _mobilenet("1.0", "1_0", 3_228_864),
        *_family(
            "minus_one_to_one",
            "Apache-2.0",
            f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
            ("mobilenet-v2", "MobileNetV2", 224, 154, 2_257_984),
        ),
        *_family(
            "none",
            "Apache-2.0",
            f"{_KERAS}/mobilenet_v3/weights_mobilenet_v3_{{}}_224_1.0_float_no_top_v2.h5",
            ("mobilenet-v3-small", "MobileNetV3Small", 224, 157, 939_120),
            ("mobilenet-v3-large", "MobileNetV3Large", 224, 187, 2_996_352),
        ),
        *_family(
            "efficientnet",
            "Apache-2.0",
            "keras-applications/efficientnet{}_notop.h5",
            ("efficientnet-b0", "EfficientNetB0", 224, 237, 4_049_571),
            ("efficientnet-b1", "EfficientNetB1", 240, 339, 6_575_239),
            ("efficientnet-b2", "EfficientNetB2", 260, 339, 7_768_569),
            ("efficientnet-b3", "EfficientNetB3", 300, 384, 10_783_535),
            ("efficientnet-b4", "EfficientNetB4", 380, 474, 17_673_823),
            ("efficientnet-b5", "EfficientNetB5", 456, 576, 28_513_527),
            ("efficientnet-b6", "EfficientNetB6", 528, 666, 40_960_143),
            ("efficientnet-b7", "EfficientNetB7", 600, 813, 64_097_687),
        ),
        *_family(
            "none",
            "Apache-2.0",
            f"{_KERAS}/efficientnet_v2/efficientnetv2-{{}}_notop.h5",
            ("efficientnet-v2-b0", "EfficientNetV2B0", 224, 270, 5_919_312),
            ("efficientnet-v2-b1", "EfficientNetV2B1", 240, 334, 6_931_124),
            ("efficientnet-v2-b2", "EfficientNetV2B2", 260, 349, 8_769_374),
            ("efficientnet-v2-b3", "EfficientNetV2B3", 300, 409, 12_930_622),
            ("efficientnet-v2-s", "EfficientNetV2S", 384, 513, 20_331_360),
            ("efficientnet-v2-m", "EfficientNetV2M", 480, 740, 53_150_388),
            ("efficientnet-v2-l", "EfficientNetV2L", 480, 1028, 117_746_848),
        ),
        *_family(
            "none",
            "MIT",
            f"{_KERAS}/convnext/convnext_{{}}_notop.h5",
            ("convnext-tiny", "ConvNeXtTiny", 224, 133, 27_820_128),
            ("convnext-small", "ConvNeXtSmall", 224, 259, 49_454_688),
            ("convnext-base", "ConvNeXtBase", 224, 259, 87_566_464),
            ("convnext-large", "ConvNeXtLarge", 224, 259, 196_230_336),
            ("convnext-xlarge", "ConvNeXtXLarge", 224, 259, 348_147_968),
        ),
    )
}

# CBIS-DDSM transfer-learning paper, table 6.
SETS = {
    "cbis-20": (
        *("vgg16", "vgg19", "densenet121", "densenet169", "densenet201"),
        *("inception-v3", "inception-resnet-v2", "nasnet-large", "nasnet-mobile"),
        *("mobilenet", "mobilenet-v2", "resnet50", "resnet50v2", "resnet101", "resnet101v2"),
        *("resnet152", "resnet152v2", "xception", "resnext50", "resnext101"),
    )
}


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the known name most like `name`, whatever its capitals; or nothing."""
    spelled = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), list(spelled), n=1)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def find_backbone(name: str, others: Iterable[str] = ()) -> Backbone:
    """The row of a backbone. Raises UsageError naming the nearest known name, or of `others` that would
    do."""
    if name not in BACKBONES:
        raise UsageError(
            f"no backbone is called {name!r}{nearest(name, [*BACKBONES, *others])}; "
            "bccli train --list-backbones shows all of them"
        )
    return BACKBONES[name]
