"""The pictures of `evaluate --output` show curves, bands and bins where there is something to show."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageColor

from bccli.core.evaluation.calibration_plot import draw_calibration
from bccli.core.evaluation.curve_plots import FEW_ACROSS, MOST_ACROSS, draw_precision_recall, draw_roc
from bccli.core.evaluation.evaluate import Evaluation, evaluate
from bccli.core.evaluation.plots import draw_all
from bccli.core.evaluation.subjects import subject_of_table
from bccli.core.evaluation.terms import Terms
from bccli.core.metrics.plots import BLUE, COLOURS, VERMILLION
from bccli.core.runs.predictions import parse_predictions
from tests import drawn

pytestmark = pytest.mark.filterwarnings("error")

Draw = Callable[[Evaluation], Any]


def evaluation(
    classes: int,
    *,
    patients: int = 12,
    images: int = 3,
    rounds: int = 50,
    probabilities: bool = True,
    names: Sequence[str] = "abcdefghijkl",
) -> Evaluation:
    """A made-up classifier of some patients with a few images each."""
    rng = np.random.default_rng(0)
    names = names[:classes]
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["path", "label", "patient", "predicted", *(f"p_{name}" for name in names)])
    for number in range(images * patients):
        patient = number // images
        label = patient % classes
        values = rng.dirichlet(1 + 2 * np.eye(classes)[label])
        shown = [f"{value:.6f}" for value in values]
        rows.writerow([number, names[label], f"q{patient}", names[values.argmax()], *shown])
    table.seek(0)
    subject = subject_of_table(parse_predictions(table, "t"), "a tool's $table", None)
    if not probabilities:
        subject = replace(subject, predictions=replace(subject.predictions, probabilities=None))
    return evaluate(subject, Terms(rounds=rounds))


def count(path: Path, colour: str, tolerance: int = 0) -> int:
    """Pixels of about a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((abs(pixels - ImageColor.getrgb(colour)).max(axis=-1) <= tolerance).sum())


@pytest.mark.parametrize("classes", [2, 3])
def test_every_class_has_a_curve_and_a_band(tmp_path: Path, classes: int) -> None:
    draw_all(evaluation(classes, patients=18), tmp_path)
    for name in ("roc", "precision_recall"):
        assert (tmp_path / f"{name}.svg").read_bytes().startswith(b"<?xml")
        for colour in COLOURS[: classes if classes > 2 else 1]:
            assert count(tmp_path / f"{name}.png", colour) > 50
    assert count(tmp_path / "calibration.png", BLUE) > 50
    assert count(tmp_path / "calibration.png", VERMILLION) > 500
    assert not (tmp_path / "beta.png").exists()


def test_too_few_patients_have_curves_without_bands(tmp_path: Path) -> None:
    band = "#cce3f0"  # a fifth of the blue on white
    for patients in (4, 12):
        draw_all(evaluation(2, patients=patients), tmp_path / str(patients))
    assert count(tmp_path / "12" / "roc.png", band, 8) > 10 * (count(tmp_path / "4" / "roc.png", band, 8) + 1)


def test_without_probabilities_there_is_only_the_confusion_matrix(tmp_path: Path) -> None:
    draw_all(evaluation(2, probabilities=False), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "confusion.svg"}


def test_one_class_alone_has_no_curves(tmp_path: Path) -> None:
    whole = evaluation(2)
    only = whole.units.where(whole.units.labels == 0)
    draw_all(evaluate(replace(whole.subject, predictions=only), Terms(rounds=0)), tmp_path)
    assert not (tmp_path / "roc.png").exists()
    assert (tmp_path / "calibration.png").exists()


def bands(axes: Any) -> int:
    return sum(type(artist).__name__ in BANDS for artist in axes.collections)


BANDS = ("FillBetweenPolyCollection", "PolyCollection")
"""What a band is, in newer and in older Matplotlib."""
CURVES = pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall])


@CURVES
@pytest.mark.parametrize("classes", [3, 4, 7, 12])
def test_where_bands_would_overlap_each_class_has_a_panel(draw: Draw, classes: int) -> None:
    whole = evaluation(classes, patients=6 * classes)
    figure = draw(whole)
    assert len(figure.axes) == classes
    assert all(bands(axes) == 1 for axes in figure.axes)
    assert drawn.overlapping(figure) == []
    titles = [axes.get_title().split("\n") for axes in figure.axes]
    assert [name for name, _ in titles] == list(whole.whole.classes)
    assert all(re.fullmatch(r"\d\.\d+ \(\d\.\d+–\d\.\d+\)", area) for _, area in titles)
    labelled = [axes for axes in figure.axes if axes.get_xlabel()]
    assert FEW_ACROSS - 1 <= len(labelled) <= MOST_ACROSS
    lefts = {round(axes.get_position().x0, 3) for axes in figure.axes}
    assert {round(axes.get_position().x0, 3) for axes in labelled} == lefts


@CURVES
@pytest.mark.parametrize(("classes", "patients"), [(2, 12), (3, 4), (12, 4)])
def test_one_band_or_none_is_one_diagram(draw: Draw, classes: int, patients: int) -> None:
    figure = draw(evaluation(classes, patients=patients))
    assert len(figure.axes) == 1
    assert bands(figure.axes[0]) <= 1
    assert drawn.overlapping(figure) == []
    assert any(text.endswith("chance") or text.startswith("chance") for text in drawn.words(figure))


@CURVES
def test_a_class_of_few_patients_has_a_panel_without_a_band(draw: Draw) -> None:
    """Of four classes, one of which is a single patient's: its area has no interval either."""
    whole = evaluation(4, patients=24)
    some = whole.units.where((whole.units.labels < 3) | (np.arange(len(whole.units)) < 12))
    figure = draw(evaluate(replace(whole.subject, predictions=some), Terms(rounds=50)))
    assert [bands(axes) for axes in figure.axes] == [1, 1, 1, 0]
    assert ["(" in axes.get_title() for axes in figure.axes] == [True, True, True, False]
    assert any("too few patients" in text for text in drawn.words(figure))
    assert not any("too few" in text for text in drawn.words(draw(whole)))


@CURVES
def test_a_class_without_a_curve_is_named(draw: Draw) -> None:
    """Of four classes, one of which nobody has."""
    whole = evaluation(4, patients=24)
    present = whole.units.where(whole.units.labels < 3)
    figure = draw(evaluate(replace(whole.subject, predictions=present), Terms(rounds=20)))
    assert len(figure.axes) == 3
    assert any("No curve: d." in text for text in drawn.words(figure))
    few = evaluation(4, patients=4)
    present = few.units.where(few.units.labels < 2)
    figure = draw(evaluate(replace(few.subject, predictions=present), Terms(rounds=0)))
    assert any(text.startswith("undefined") for text in drawn.words(figure))


@pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall, draw_calibration])
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("patients", [4, 36])
def test_any_class_name_is_written_as_it_is(draw: Draw, classes: int, patients: int) -> None:
    whole = evaluation(classes, patients=patients, names=drawn.NAMES)
    figure = draw(whole)
    assert drawn.overlapping(figure) == []
    assert drawn.formulas(figure) == []
    said = " ".join(drawn.words(figure))
    positive = whole.whole.positive
    for name in (positive,) if positive else drawn.NAMES if draw is not draw_calibration else ():
        assert name.replace(" ", "") in said.replace(" ", "")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("images", [1, 3, 300])
def test_bins_of_calibration_show_their_counts(classes: int, images: int) -> None:
    whole = evaluation(classes, images=images, rounds=0)
    figure = draw_calibration(whole)
    bars = figure.axes[1]
    counts = [int(text.get_text().replace(",", "")) for text in bars.texts if text.get_text()]
    assert counts == [round(bar.get_height()) for bar in bars.patches if bar.get_height()]
    assert sum(counts) == 12 * images
    assert drawn.overlapping(figure) == []
    for text in bars.texts:
        assert not text.get_text() or bars.bbox.y1 >= drawn.box_of(text).y1
    ticks = bars.get_yticks()
    assert all(tick == int(tick) for tick in ticks)


def test_large_bins_have_their_counts_upright_and_whole() -> None:
    figure = draw_calibration(evaluation(2, patients=12, images=1500, rounds=0))
    texts = [text for text in figure.axes[1].texts if text.get_text()]
    assert any("," in text.get_text() for text in texts)
    assert {text.get_rotation() for text in texts} == {90}
    assert drawn.overlapping(figure) == []


ODD = ("a--b", "-->", "\x1b[1mbell\x07", "gut\udce4rtig", "f\ufffe<!--", "良性 חיובי 😀")
"""Names that a comment or text of an SVG cannot hold as they are."""


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("patients", [1, 36])
@pytest.mark.parametrize("names", [drawn.NAMES, ODD])
def test_every_svg_is_xml_and_as_large_as_its_png(
    tmp_path: Path, classes: int, patients: int, names: Sequence[str]
) -> None:
    draw_all(evaluation(classes, patients=patients, images=1, names=names, rounds=20), tmp_path)
    pictures = sorted(tmp_path.glob("*.png"))
    assert [path.stem for path in pictures] == sorted(path.stem for path in tmp_path.glob("*.svg"))
    assert len(pictures) == (4 if patients > 1 else 2)
    for path in pictures:
        root = ElementTree.parse(path.with_suffix(".svg")).getroot()
        size = [float(root.attrib[side].removesuffix("pt")) * 150 / 72 for side in ("width", "height")]
        with Image.open(path) as image:
            assert size == pytest.approx(image.size, rel=0.02)
