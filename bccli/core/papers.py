"""The figures that the five papers print, to stand beside the measured ones.

None of them has an interval, and most rest on splits that share patients or augmented copies (contract,
section 2): a run is comparable with them under `--protocol paper` only.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bccli.core.metrics import Figures


@dataclass(frozen=True)
class PaperFigure:
    """One printed figure; `measure` is a key of the contract, or `measure.class`.

    Or it is `node.NAME`, the accuracy of a tree's node. `where` is its place in the paper. `backbone` and
    `level` say what it is a figure of, "" for whatever a run of the recipe has.
    """

    measure: str
    value: float
    where: str
    backbone: str = ""
    split: str = "test"
    level: str = "image"
    remark: str = ""


def _cbis(
    table: str, remark: str, rows: Iterable[tuple[str, float, float, float]]
) -> tuple[PaperFigure, ...]:
    """The columns AUC, F1 and ACC of tables 7 and 9; the paper's AUC is ½(1 + TPR − FPR) (equation 12)."""
    return tuple(
        PaperFigure(measure, value, table, backbone, remark=remark)
        for backbone, *values in rows
        for measure, value in zip(("auc_paper", "f1", "accuracy"), values, strict=True)
    )


_TRANSFER = (
    ("resnet50", 0.861, 0.858, 0.861),
    ("mobilenet", 0.854, 0.855, 0.854),
    ("resnet152", 0.853, 0.847, 0.853),
    ("resnet101", 0.846, 0.848, 0.846),
    ("resnet152v2", 0.844, 0.845, 0.844),
    ("resnet50v2", 0.843, 0.854, 0.843),
    ("resnet101v2", 0.832, 0.833, 0.832),
    ("densenet201", 0.821, 0.823, 0.821),
    ("xception", 0.816, 0.820, 0.816),
    ("densenet169", 0.812, 0.816, 0.812),
    ("resnext101", 0.806, 0.820, 0.806),
    ("nasnet-large", 0.804, 0.802, 0.804),
    ("mobilenet-v2", 0.791, 0.801, 0.791),
    ("densenet121", 0.790, 0.790, 0.789),
    ("inception-v3", 0.778, 0.781, 0.779),
    ("resnext50", 0.777, 0.764, 0.777),
    ("inception-resnet-v2", 0.744, 0.746, 0.744),
    ("nasnet-mobile", 0.712, 0.730, 0.712),
    ("vgg16", 0.644, 0.654, 0.644),
    ("vgg19", 0.629, 0.659, 0.629),
)
_TRANSFER_BETA = (
    ("vgg16", 1.01), ("vgg19", 1.02), ("resnet50", 1.16), ("mobilenet", 1.17), ("resnet152", 1.17),
    ("resnet101", 1.18), ("resnet152v2", 1.19), ("resnet50v2", 1.19), ("resnet101v2", 1.20),
    ("inception-resnet-v2", 1.21), ("densenet201", 1.22), ("xception", 1.22), ("resnext101", 1.22),
    ("densenet169", 1.23), ("densenet121", 1.24), ("nasnet-large", 1.24), ("mobilenet-v2", 1.26),
    ("resnext50", 1.26), ("inception-v3", 1.27), ("nasnet-mobile", 1.28),
)  # fmt: skip

PAPERS: dict[str, tuple[PaperFigure, ...]] = {
    "bcnet": (
        PaperFigure("val_accuracy", 0.88, "section 3.6", split=""),
        PaperFigure("accuracy", 0.72, "section 3.6", remark="21 images cannot give it"),
        PaperFigure("loss", 2.9, "section 3.6"),
    ),
    "resnet50-breakhis": (
        PaperFigure("accuracy", 0.991, "table II", remark="the best epoch, chosen on test"),
        PaperFigure("accuracy", 0.99, "section III", remark="the average of the last epochs"),
    ),
    "hybrid-bilstm": (
        # Table III prints 82.1, section V.B 83.1.
        PaperFigure("accuracy", 0.821, "table III", level="patch", remark="section V.B says 0.831"),
        PaperFigure("accuracy", 0.905, "table III", remark="an average; 40 images cannot give it"),
        PaperFigure("roc_auc", 0.895, "section V.C"),
        PaperFigure("roc_auc.normal", 0.95, "section V.C"),
        PaperFigure("roc_auc.benign", 0.85, "section V.C"),
        PaperFigure("roc_auc.in_situ", 0.87, "section V.C"),
        PaperFigure("roc_auc.invasive", 0.91, "section V.C"),
        PaperFigure("sensitivity.benign", 0.81, "section V.C", remark="0.88 with 1,568 images"),
    ),
    "cbis-ddsm-tl": (
        *_cbis("table 7", "", _TRANSFER),
        *(PaperFigure("beta_paper", value, "table 8", backbone) for backbone, value in _TRANSFER_BETA),
    ),
    "cbis-ddsm-ft": (
        *_cbis("table 9", "γ = 8", [("vgg16", 0.844, 0.850, 0.844)]),
        PaperFigure("beta_paper", 1.09, "table 10", "vgg16", remark="γ = 8"),
        *_cbis("table 9", "γ = 10, chosen", [("vgg16", 0.816, 0.822, 0.816)]),
        PaperFigure("beta_paper", 1.07, "table 10", "vgg16", remark="γ = 10, chosen"),
        PaperFigure("roc_auc", 0.818, "figure 7", "vgg16", remark="γ = 10, chosen"),
        *_cbis("table 9", "γ = 17", [("vgg19", 0.774, 0.774, 0.774)]),
        PaperFigure("beta_paper", 1.07, "table 10", "vgg19", remark="γ = 17"),
    ),
    "mini-ddsm-single": (PaperFigure("accuracy", 0.468, "section 4.1"),),
    "mini-ddsm-hierarchy": (
        PaperFigure("accuracy", 0.532, "section 4.2"),
        PaperFigure("node.root", 0.557, "section 4.2", remark="normal or tumour"),
        PaperFigure("node.tumor", 0.448, "section 4.2", remark="benign or cancer"),
    ),
}
"""By the recipe's name; γ is the layer from which fine-tuning began."""


def beside(figures: Figures) -> list[dict[str, Any]] | None:
    """The paper's figures of the run's recipe with what was measured; None where the recipe is no paper's."""
    rows = PAPERS.get((figures.recipe or "").partition(":")[0], ())
    fitting = [
        row
        for row in rows
        if row.backbone in ("", figures.backbone)
        and row.split in ("", figures.split or "test")
        and row.level == figures.level
    ]
    return [
        {
            "measure": row.measure,
            "paper": row.value,
            "measured": _measured(figures, row.measure),
            **{key: value for key, value in asdict(row).items() if key in ("where", "remark")},
        }
        for row in fitting
    ] or None


def _measured(figures: Figures, measure: str) -> Any:
    name, _, label = measure.partition(".")
    if name == "node":
        return ((figures.tree or {}).get("nodes", {}).get(label) or {}).get("accuracy")
    return (figures.per_class or {}).get(label, {}).get(name) if label else getattr(figures, name)
