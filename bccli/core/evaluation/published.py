"""The figures that the five papers print, to stand beside those of runs that are what the papers measured.

None of them has an interval, and most rest on splits that share patients or augmented copies (contract,
section 2): a run is comparable with them under `--protocol paper` only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """What a paper trained: a run with other values than these is another model.

    `gamma` is the layer from which a backbone was fine-tuned, None where it was not, and `trainable` says
    which of its layers learned then. `head` is a row of HEADS or FUSIONS, with so many `dense` units, or so
    many `layers` where the paper gives no units; what else is None, the paper does not say.
    """

    backbone: str
    output: str
    head: str = "gap"
    dense: tuple[int, ...] | None = ()
    layers: int | None = None
    dropout: float | None = None
    trainable: str = "none"
    gamma: int | None = None
    kind: str = "network"
    tree: str = ""


WATCHED = "watched_test"
"""What figures begin with that a run has of test's curve, if it reported that."""


@dataclass(frozen=True)
class PaperFigure:
    """One printed figure of a model; `measure` is a key of the contract, or `measure.class`.

    Or it is `node.NAME`, the accuracy of a tree's node, or `watched_test.KEY`, that of the late epochs in
    which test was watched. `where` says where in the paper it stands, `n` how many images it rests on as the
    paper says it. `split` is "" where val is meant, whatever is measured.
    """

    model: Model
    measure: str
    value: float
    where: str
    split: str = "test"
    level: str = "image"
    n: int | None = None
    remark: str = ""


# Falconí et al. 2020, CBIS-DDSM. Section 4.3.2: 60,000 images after augmentation, 10 % of them test.
_CBIS_N = 6000
_CBIS_REMARK = "augmented before the split"


def _transferred(backbone: str) -> Model:
    """Section 4.3.3: 4096 neurons, dropout 0.2 and one sigmoid neuron on a frozen backbone."""
    return Model(backbone, "sigmoid", dense=(4096,), dropout=0.2)


def _tuned(backbone: str, gamma: int) -> Model:
    """Section 5.3: global average, dropout and one neuron, and for VGG16 from layer 8 on 4096 more."""
    dense = (4096,) if (backbone, gamma) == ("vgg16", 8) else ()
    return Model(backbone, "sigmoid", dense=dense, dropout=0.2, gamma=gamma)


def _cbis(
    model: Model, where: str, values: Mapping[str, float], remark: str = _CBIS_REMARK
) -> tuple[PaperFigure, ...]:
    return tuple(
        PaperFigure(model, measure, value, where, n=_CBIS_N, remark=remark)
        for measure, value in values.items()
    )


def _rates(auc: float, f1: float, accuracy: float) -> dict[str, float]:
    """The columns of tables 7 and 9; the paper's AUC is ½(1 + TPR − FPR) (equation 13)."""
    return {"auc_paper": auc, "f1": f1, "accuracy": accuracy}


def _overfitting(train: float, test: float, beta: float) -> dict[str, float]:
    """The columns of tables 8 and 10, whose β divides by test."""
    return {"train_accuracy": train, "accuracy": test, "beta_paper": beta}


# Section 5.2, table 7 (AUC, F1, accuracy); table 8 (train and test accuracy, β). The networks of table 6.
_TRANSFER = (
    ("resnet50", (0.861, 0.858, 0.861), (1.00, 0.86, 1.16)),
    ("mobilenet", (0.854, 0.855, 0.854), (1.00, 0.85, 1.17)),
    ("resnet152", (0.853, 0.847, 0.853), (1.00, 0.85, 1.17)),
    ("resnet101", (0.846, 0.848, 0.846), (1.00, 0.85, 1.18)),
    ("resnet152v2", (0.844, 0.845, 0.844), (1.00, 0.84, 1.19)),
    ("resnet50v2", (0.843, 0.854, 0.843), (1.00, 0.84, 1.19)),
    ("resnet101v2", (0.832, 0.833, 0.832), (1.00, 0.83, 1.20)),
    ("densenet201", (0.821, 0.823, 0.821), (1.00, 0.82, 1.22)),
    ("xception", (0.816, 0.820, 0.816), (1.00, 0.82, 1.22)),
    ("densenet169", (0.812, 0.816, 0.812), (1.00, 0.81, 1.23)),
    ("resnext101", (0.806, 0.820, 0.806), (0.99, 0.81, 1.22)),
    ("nasnet-large", (0.804, 0.802, 0.804), (1.00, 0.80, 1.24)),
    ("mobilenet-v2", (0.791, 0.801, 0.791), (1.00, 0.79, 1.26)),
    ("densenet121", (0.790, 0.790, 0.789), (0.98, 0.79, 1.24)),
    ("inception-v3", (0.778, 0.781, 0.779), (0.99, 0.78, 1.27)),
    ("resnext50", (0.777, 0.764, 0.777), (0.98, 0.78, 1.26)),
    ("inception-resnet-v2", (0.744, 0.746, 0.744), (0.90, 0.74, 1.21)),
    ("nasnet-mobile", (0.712, 0.730, 0.712), (0.91, 0.71, 1.28)),
    ("vgg16", (0.644, 0.654, 0.644), (0.65, 0.64, 1.01)),
    ("vgg19", (0.629, 0.659, 0.629), (0.64, 0.63, 1.02)),
)
_ALL_MALIGNANT, _ALL_BENIGN = "all images called malignant", "all images called benign"
# Section 5.3, table 9: backbone, γ, (AUC, F1, accuracy), and what follows from an AUC of ½ and its F1.
_TUNED = (
    ("vgg16", 8, (0.844, 0.850, 0.844), "slight overfitting (section 6)"),
    ("vgg16", 10, (0.816, 0.822, 0.816), "the chosen one (section 5.3)"),
    ("vgg19", 17, (0.774, 0.774, 0.774), ""),
    ("xception", 127, (0.571, 0.664, 0.571), ""),
    ("xception", 122, (0.526, 0.670, 0.526), ""),
    ("xception", 130, (0.504, 0.663, 0.504), ""),
    ("resnet101", 343, (0.5, 0.667, 0.5), _ALL_MALIGNANT),
    ("resnet101", 340, (0.5, 0.667, 0.5), _ALL_MALIGNANT),
    ("resnet152", 510, (0.5, 0.667, 0.5), _ALL_MALIGNANT),
    ("resnet50", 173, (0.5, 0.667, 0.5), _ALL_MALIGNANT),
    ("resnet101", 330, (0.5, 0.0, 0.5), _ALL_BENIGN),
    ("resnet152", 513, (0.5, 0.0, 0.5), _ALL_BENIGN),
    ("resnet50", 160, (0.5, 0.0, 0.5), _ALL_BENIGN),
    ("resnet50", 170, (0.5, 0.0, 0.5), _ALL_BENIGN),
)
# Section 5.3, table 10: train and test accuracy, β.
_TUNED_BETA = (
    ("vgg19", 17, (0.82, 0.77, 1.07)),
    ("vgg16", 10, (0.87, 0.82, 1.07)),
    ("vgg16", 8, (0.92, 0.84, 1.09)),
)
_CHOSEN = _tuned("vgg16", 10)


def _remarked(remark: str) -> str:
    return f"{_CBIS_REMARK}; {remark}" if remark else _CBIS_REMARK


def _joined(groups: Iterable[tuple[PaperFigure, ...]]) -> tuple[PaperFigure, ...]:
    return tuple(figure for group in groups for figure in group)


_FALCONI = (
    *_joined(_cbis(_transferred(name), "table 7", _rates(*rates)) for name, rates, _ in _TRANSFER),
    *_joined(_cbis(_transferred(name), "table 8", _overfitting(*beta)) for name, _, beta in _TRANSFER),
    *_joined(
        _cbis(_tuned(name, gamma), "table 9", _rates(*rates), _remarked(remark))
        for name, gamma, rates, remark in _TUNED
    ),
    *_joined(
        _cbis(_tuned(name, gamma), "table 10", _overfitting(*beta)) for name, gamma, beta in _TUNED_BETA
    ),
    *_cbis(_CHOSEN, "figure 7", {"roc_auc": 0.818}),
    # Figure 8: of 3,000 images of each class 2,547 true and 652 false positives, 2,348 true negatives.
    *_cbis(_CHOSEN, "figure 8", {"tpr": 0.849, "fpr": 0.217, "tnr": 0.782}),
)
# Hallaj Zavareh et al. 2021, sections 3.4 (the model), 3.3 (21 images held out) and 3.6 (the figures).
_BCNET = Model("vgg16", "softmax", dense=(1024, 1024))
# Abu Al-Haija and Adebanjo 2020, sections 2.3 and 2.4 (the model); table I: 1,995 images at 40×, the test.
_RESNET = Model("resnet50", "sigmoid", dense=(1024,), dropout=0.4, trainable="all")
# Yan et al. 2018, sections IV.B and IV.C (the models); V.B: 10 % of 400 images are test.
_PATCHES = Model("inception-v3", "softmax", trainable="all")
_LSTM = Model("inception-v3", "softmax", head="bilstm", dense=None, layers=3, kind="fusion")


def _yan(measure: str, value: float, where: str, remark: str = "") -> PaperFigure:
    return PaperFigure(_LSTM, measure, value, where, n=40, remark=remark)


# Abu Lubad (thesis), section 3.4 (the model) and 3.6 (unfrozen later): layer 234 is EfficientNet-B0's
# top_conv, the first of its last three. The images: the authors' notebook (contract, section 5).
_LUBAD_N = 156
_SINGLE = Model("efficientnet-b0", "softmax", head="thesis", dense=(10,), dropout=0.2, gamma=234)
_TREE = Model(
    "efficientnet-b0", "softmax", head="thesis", dense=(10,), dropout=0.2, gamma=234,
    kind="tree", tree="normal, tumor(benign, cancer)",
)  # fmt: skip
_LUBAD_REMARK = "always normal would be 0.635; labels in another order than images"


def _lubad(model: Model, measure: str, value: float, where: str, remark: str) -> PaperFigure:
    return PaperFigure(model, measure, value, where, n=_LUBAD_N, remark=remark)


PAPERS: dict[str, tuple[PaperFigure, ...]] = {
    "bcnet": (
        PaperFigure(_BCNET, "val_accuracy", 0.88, "section 3.6", split=""),
        PaperFigure(_BCNET, "accuracy", 0.72, "section 3.6", n=21, remark="21 images cannot give it"),
        PaperFigure(_BCNET, "loss", 2.9, "section 3.6", n=21),
    ),
    "resnet50-breakhis": (
        PaperFigure(_RESNET, "accuracy", 0.991, "table II", n=1995, remark="the best epoch, chosen on test"),
        PaperFigure(
            _RESNET, "accuracy", 0.99, "section III", n=1995, remark="the average of the last epochs"
        ),
        PaperFigure(_RESNET, f"{WATCHED}.best_accuracy", 0.991, "table II", n=1995),
        PaperFigure(_RESNET, f"{WATCHED}.mean_accuracy", 0.99, "section III", n=1995),
    ),
    "hybrid-bilstm": (
        PaperFigure(_PATCHES, "accuracy", 0.821, "table III", level="patch", remark="section V.B says 0.831"),
        _yan("accuracy", 0.905, "table III", "an average; 40 images cannot give it"),
        _yan("roc_auc", 0.895, "section V.C"),
        _yan("roc_auc.normal", 0.95, "section V.C"),
        _yan("roc_auc.benign", 0.85, "section V.C"),
        _yan("roc_auc.in_situ", 0.87, "section V.C"),
        _yan("roc_auc.invasive", 0.91, "section V.C"),
        _yan("sensitivity.benign", 0.81, "section V.C", "0.88 with 1,568 images"),
    ),
    "cbis-ddsm-tl": _FALCONI,
    "cbis-ddsm-ft": _FALCONI,
    "mini-ddsm-single": (_lubad(_SINGLE, "accuracy", 0.468, "section 4.1", f"73 images; {_LUBAD_REMARK}"),),
    "mini-ddsm-hierarchy": (
        _lubad(_TREE, "accuracy", 0.532, "section 4.2", f"83 images; {_LUBAD_REMARK}"),
        _lubad(_TREE, "node.root", 0.557, "section 4.2", "87 images; normal or tumour"),
        _lubad(_TREE, "node.tumor", 0.448, "section 4.2", "70 images; benign or cancer"),
    ),
}
"""By the recipe's name."""
