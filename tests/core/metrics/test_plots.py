"""Pictures: PNG files that show what they were given. How they look is for eyes, not for tests."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageColor

from bccli.core.metrics import plots
from bccli.core.models.drawing import FROZEN, MOST_BOXES, NO_WEIGHTS, TRAINABLE, LayerBox, draw_layers, fold
from tests import drawn

BINARY = ["benign", "malignant"]
LONG_NAMES = [
    "benign without callback",
    "ductal_carcinoma_in_situ_of_the_left_breast",
    "_hidden",
    "$x^{",
    "5",
]

pytestmark = pytest.mark.filterwarnings("error")


def picture(draw, *args, **options):
    """What a plotting function writes to a binary file, as an image."""
    stream = io.BytesIO()
    assert draw(*args, stream, **options) is None
    image = Image.open(stream)
    assert image.format == "PNG"
    return image.convert("RGB")


def count(image, colour):
    return int((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1).sum())


def history(epochs, **extra):
    return [
        {"epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.5 / epoch, **extra}
        for epoch in range(1, epochs + 1)
    ]


def predictions(class_count, images=60):
    rng = np.random.default_rng(0)
    return rng.integers(0, class_count, images), rng.dirichlet(np.ones(class_count), images)


@pytest.mark.parametrize("epochs", [1, 8, 200])
def test_curves_show_train_val_and_the_kept_epoch(epochs):
    rows = history(epochs, val_loss=0.5, val_accuracy=0.8)
    image = picture(plots.plot_curves, rows, kept_epoch=1)
    assert count(image, plots.BLUE) > 20
    assert count(image, plots.VERMILLION) > 20
    assert count(image, plots.GREY) > 20


@pytest.mark.parametrize("missing", [{}, {"val_loss": None}, {"val_loss": math.nan}, {"val_loss": ""}])
def test_curves_without_val_show_train_only(missing):
    image = picture(plots.plot_curves, history(5, **missing))
    assert count(image, plots.BLUE) > 20
    assert count(image, plots.VERMILLION) == 0


def test_curves_of_an_untrained_run_are_empty():
    assert count(picture(plots.plot_curves, []), plots.BLUE) == 0


def test_curves_survive_losses_that_span_decades_or_are_zero():
    wide = [{"epoch": 1, "loss": 1e6, "accuracy": 0.5}, {"epoch": 2, "loss": 1e-3, "accuracy": 0.9}]
    assert count(picture(plots.plot_curves, wide), plots.BLUE) > 20
    wide[1]["loss"] = 0.0
    assert count(picture(plots.plot_curves, wide), plots.BLUE) > 20


@pytest.mark.parametrize("class_count", [2, 3, 8, 20])
def test_confusion_grows_with_the_classes_and_stays_square(class_count):
    names = [f"class {number}" for number in range(class_count)]
    image = picture(plots.plot_confusion, np.eye(class_count, dtype=int) * 1234, names, title="test")
    assert 500 < image.width < 16 * plots.DOTS_PER_INCH
    assert 0.7 < image.width / image.height < 1.5


def test_confusion_takes_any_class_name_and_classes_without_images():
    image = picture(plots.plot_confusion, np.zeros((5, 5)), LONG_NAMES, title="no_images of $5 or $6")
    assert image.width > image.height / 2


@pytest.mark.parametrize("class_count", [2, 12, 40])
@pytest.mark.parametrize("name", ["class", "invasive_ductal_carcinoma_number_", "$x$ größer " * 9])
def test_names_of_classes_lie_on_nothing(monkeypatch, class_count, name):
    """Those of columns are aslant: their lines are as far apart as is perpendicular to them."""
    figures = drawn.figures_of(monkeypatch, plots)
    names = [f"{name}{number}" for number in range(class_count)]
    plots.plot_confusion(np.eye(class_count, dtype=int) * 12_345, names, "", title="run, test")
    (figure,) = figures
    assert drawn.overlapping(figure) == []
    assert drawn.formulas(figure) == []
    axes = figure.axes[0]
    columns = axes.get_xticklabels()
    apart = axes.bbox.width / class_count
    if slope := columns[0].get_rotation():
        lines = max(label.get_text().count("\n") + 1 for label in columns)
        thickest = 1.2 * lines * columns[0].get_fontsize() * figure.dpi / 72
        assert thickest <= apart * math.sin(math.radians(slope)) + 1
    else:
        assert max(drawn.box_of(label).width for label in columns) <= apart


def test_long_names_and_titles_widen_the_picture_and_are_not_cut():
    short = picture(plots.plot_confusion, np.eye(2), ["a", "b"])
    long = picture(plots.plot_confusion, np.eye(2), ["mucinous carcinoma", "b"], title="a title " * 20)
    assert long.width > short.width
    assert long.height > short.height
    edges = np.asarray(long)
    for edge in (edges[:5], edges[-5:], edges[:, :5], edges[:, -5:]):
        assert (edge == 255).all()


def test_roc_of_two_classes_is_the_positive_ones():
    image = picture(plots.plot_roc, *predictions(2), BINARY, positive="benign", title="test")
    assert count(image, plots.BLUE) > 100
    assert count(image, plots.VERMILLION) == 0


@pytest.mark.parametrize("class_count", [3, 5])
def test_roc_of_more_classes_has_a_curve_for_each(class_count):
    image = picture(plots.plot_roc, *predictions(class_count), LONG_NAMES[:class_count])
    for colour in plots.COLOURS[:class_count]:
        assert count(image, colour) > 50


def test_roc_of_one_class_alone_has_no_curve():
    labels, probabilities = predictions(2)
    both = picture(plots.plot_roc, labels, probabilities, BINARY)
    alone = picture(plots.plot_roc, np.zeros_like(labels), probabilities, BINARY)
    assert count(alone, plots.BLUE) < count(both, plots.BLUE) / 2


def test_plots_can_be_written_to_a_path_with_any_name(tmp_path):
    target = tmp_path / "curves.png.part"
    plots.plot_curves(history(3), target)
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_users_settings_change_no_picture():
    """A matplotlibrc that asks for TeX, other fonts and dark colours, as many have one."""
    import matplotlib

    def written():
        streams = [io.BytesIO() for _ in range(3)]
        plots.plot_curves(history(3), streams[0], kept_epoch=2)
        plots.plot_confusion(np.eye(3), ["a_b", "$", "100 %"], streams[1], title="x_y")
        plots.plot_roc(*predictions(3), LONG_NAMES[:3], streams[2])
        return [stream.getvalue() for stream in streams]

    plain = written()
    dark = {"text.usetex": True, "font.size": 30, "font.family": "serif", "figure.facecolor": "black"}
    more = {"axes.grid": True, "lines.linewidth": 9, "savefig.transparent": True, "xtick.labelsize": 3}
    with matplotlib.rc_context({**dark, **more}):
        assert written() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_plots_load_matplotlib_when_they_draw_and_pyplot_never():
    program = (
        "import sys, io; from bccli.core.metrics import plots; import bccli.core.models.drawing;"
        "assert 'matplotlib' not in sys.modules; plots.plot_curves([], io.BytesIO());"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


VGG = [
    LayerBox("images", "InputLayer", (None, 224, 224, 3), 0, True),
    LayerBox("vgg16", "Functional", (None, 7, 7, 512), 14_714_688, False, layers=19),
    LayerBox("dense", "Dense", (None, 1024), 525_312, True),
]


def plain_network(blocks, per_block=3):
    """A CNN of `blocks` resolutions, each with convolutions and activations."""
    for block in range(blocks):
        shape = (None, 2 ** (blocks - block), 2 ** (blocks - block), 8)
        for number in range(per_block):
            yield LayerBox(f"conv_{block}_{number}", "Conv2D", shape, 100, True)
            yield LayerBox(f"relu_{block}_{number}", "ReLU", shape, 0, True)


def test_layers_are_tinted_by_what_trains():
    image = picture(draw_layers, VGG)
    for tint in (NO_WEIGHTS, FROZEN, TRAINABLE):
        assert count(image, tint) > 1000


def test_layers_of_any_name_and_number_fit_in_the_picture():
    assert picture(draw_layers, []).height > 0
    endless = [LayerBox("name" * 100, "Kind", (None, None, None, 3), 1, True)]
    assert picture(draw_layers, endless).width < 1000
    assert picture(draw_layers, plain_network(200)).height < MOST_BOXES * 200


def test_short_networks_are_not_folded():
    assert fold(VGG) == VGG


def test_long_networks_are_folded_where_the_resolution_changes():
    folded = fold(list(plain_network(5, per_block=10)))
    assert len(folded) == 5
    assert folded[0] == LayerBox(
        "conv_0_0 … relu_0_9", "Conv2D, ReLU", (None, 32, 32, 8), 1000, True, layers=20
    )


def test_folding_keeps_frozen_and_trainable_layers_apart():
    shape = (None, 8)
    layers = [LayerBox(f"dense_{n}", "Dense", shape, 10, n >= 30) for n in range(50)]
    assert [(box.layers, box.trainable) for box in fold(layers)] == [(30, False), (20, True)]


@pytest.mark.parametrize("blocks", [41, 60, 200])
def test_folding_ends_at_the_limit_and_loses_no_layer(blocks):
    layers = list(plain_network(blocks))
    folded = fold(layers)
    assert len(folded) <= MOST_BOXES
    assert sum(box.layers for box in folded) == len(layers)
    assert sum(box.parameters for box in folded) == sum(box.parameters for box in layers)
