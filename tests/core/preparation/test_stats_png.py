"""stats.png: a picture of any dataset. How it looks is for eyes, not for tests."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageColor

from bccli.core.data.manifest import Sample
from bccli.core.metrics.plots import BLUE, COLOURS, VERMILLION
from bccli.core.preparation import stats_png
from bccli.core.preparation.counts import Background, Census
from bccli.core.preparation.stats_png import draw_stats
from tests import drawn

SPLITS = ("train", "val", "test")
LONG_NAMES = ("benign without callback", "ductal_carcinoma_in_situ_" * 9, "_hidden", "$x^{", "5")

pytestmark = pytest.mark.filterwarnings("error")


def census(
    classes, splits=SPLITS, patients=30, *, known=1.0, images=400, size=lambda rng: (700, 460), tail=1
):
    """A random dataset; with a large `tail` some patients have many more images than others."""
    rng = np.random.default_rng(0)
    weights = rng.random(patients) ** tail
    counted = Census()
    for patient in rng.choice(patients, images, p=weights / weights.sum()).tolist():
        width, height = (int(side) for side in size(rng))
        name = f"p{patient}" if rng.random() < known else ""
        label = classes[rng.integers(len(classes))]
        sample = Sample(label=label, patient=name, width=width, height=height)
        counted.add(sample, splits[patient % len(splits)])
    return counted


def picture(counted, classes, background=Background()):  # noqa: B008 (it is frozen)
    image = Image.open(io.BytesIO(draw_stats(counted, classes, background)))
    assert image.format == "PNG"
    return image.convert("RGB")


def count(image, colour):
    return int((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1).sum())


def folds(number):
    return tuple(f"fold {fold}" for fold in range(number))


@pytest.mark.parametrize("classes", [("benign", "malignant"), tuple("abcdefgh"), LONG_NAMES])
@pytest.mark.parametrize("splits", [SPLITS, ("train",), folds(20)])
def test_any_classes_and_splits_fit_on_a_page_as_wide_as_any_other(classes, splits):
    image = picture(census(classes, splits), classes)
    assert 1300 < image.width < 1600
    edges = np.asarray(image)
    for edge in (edges[:5], edges[-5:], edges[:, :5], edges[:, -5:]):
        assert (edge == 255).all()


@pytest.mark.parametrize("classes", [("normal", "benign", "cancer"), tuple("abcdefgh"), LONG_NAMES])
@pytest.mark.parametrize("ages", [(50,), (20, 20), tuple(range(27, 90))])
def test_ages_are_drawn_below_the_rest_and_what_train_had_before_in_pale(classes, ages):
    counted = census(classes)
    plain = picture(counted, classes)
    by_class = {name: ages[: number + 1] for number, name in enumerate(classes[1:])}
    image = picture(counted, classes, Background(ages, by_class, {classes[0]: 2000}))
    assert image.height > plain.height + 300
    assert 1300 < image.width < 1600
    assert count(image, "#C9D6E2") > count(plain, "#C9D6E2") + 500
    edges = np.asarray(image)
    for edge in (edges[:5], edges[-5:], edges[:, :5], edges[:, -5:]):
        assert (edge == 255).all()


def test_the_same_dataset_gives_the_same_bytes():
    counted = census("ab", size=lambda rng: rng.integers(30, 900, 2))
    assert draw_stats(counted, "ab") == draw_stats(counted, "ab")


def test_each_split_has_its_colour():
    image = picture(census("ab"), "ab")
    for colour in (BLUE, VERMILLION, COLOURS[2]):
        assert count(image, colour) > 300
    assert count(picture(census("ab", folds(5)), "ab"), VERMILLION) == 0


def test_hundreds_of_classes_are_cut_short():
    classes = [f"class {number}" for number in range(200)]
    assert picture(census(classes, folds(20), 1000, images=5000), classes).height < 6000


@pytest.mark.parametrize("tail", [1, 30])
def test_a_thousand_patients_are_one_histogram(tail):
    image = picture(census("ab", patients=1000, images=20_000, tail=tail), "ab")
    assert count(image, BLUE) > 5000


def test_what_is_the_same_everywhere_is_a_sentence_not_a_picture():
    same = Census()
    for patient in range(10):
        for label in "ab":
            same.add(Sample(label=label, patient=str(patient), width=50, height=50), SPLITS[patient % 3])
    varied = census("ab", images=20, size=lambda rng: rng.integers(30, 900, 2))
    assert picture(same, "ab").height < picture(varied, "ab").height - 200


@pytest.mark.parametrize("known", [0.0, 0.5])
def test_unknown_patients_leave_the_histogram(known):
    everyone = picture(census("ab"), "ab")
    assert picture(census("ab", known=known), "ab").tobytes() != everyone.tobytes()


@pytest.mark.parametrize("patients", [1, 2])
def test_few_patients_need_no_plural_nor_histogram(patients):
    assert picture(census("ab", patients=patients, images=patients * 5), "ab").width > 1000


@pytest.mark.parametrize(
    "size",
    [
        lambda rng: ((700, 460), (2048, 1536))[rng.integers(2)],
        lambda rng: rng.integers(300, 330, 2),
        lambda rng: (512, rng.integers(1, 9000)),
        lambda rng: np.exp(rng.normal(5, 2, 2)) + 1,
    ],
)
def test_sizes_from_two_to_thousands_are_drawn(size):
    one = count(picture(census("ab", images=3000), "ab"), "#FFFFFF")
    assert count(picture(census("ab", images=3000, size=size), "ab"), "#FFFFFF") != one


def test_a_dataset_without_images_still_has_a_picture():
    assert picture(Census(), "ab").height > 0


def test_matplotlib_is_loaded_when_it_is_needed_and_pyplot_never():
    program = (
        "import sys; from bccli.core.preparation import counts, stats_png;"
        "assert 'matplotlib' not in sys.modules;"
        "stats_png.draw_stats(counts.Census(), 'ab'); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def figure_of(patch, counted, classes, background=Background()):  # noqa: B008 (it is frozen)
    figures = drawn.figures_of(patch, stats_png)
    draw_stats(counted, classes, background)
    return figures[0]


def bar_texts(figure, heading):
    """The numbers on the bars below a heading, by panel: until the next heading."""
    tops = sorted((text.get_position()[1] for text in figure.texts), reverse=True)
    top = next(text.get_position()[1] for text in figure.texts if heading in text.get_text())
    bottom = next((other for other in tops if other < top), -1000)
    panels = [axes for axes in figure.axes if bottom < axes.get_position().y0 < top]
    return [[text.get_text() for text in axes.texts] for axes in panels]


def heading_of(figure, words):
    (found,) = (text for text in drawn.words(figure) if words in text)
    return found


CLASSES = pytest.mark.parametrize("classes", [("a", "b"), tuple("abcdefghijkl"), drawn.NAMES])


@CLASSES
@pytest.mark.parametrize("patients", [5, 2000])
@pytest.mark.parametrize(("known", "splits"), [(0.0, SPLITS), (0.5, SPLITS), (1.0, folds(5))])
def test_texts_lie_on_nothing(monkeypatch, classes, patients, known, splits):
    counted = census(classes, splits, patients, known=known, images=4 * patients)
    ages = Background(tuple(range(30, 90)), dict.fromkeys(classes, (40, 50)), {classes[0]: 10_000})
    figure = figure_of(monkeypatch, counted, classes, ages)
    assert drawn.overlapping(figure) == []
    assert drawn.formulas(figure) == []


@CLASSES
@pytest.mark.parametrize("patients", [7, 3000])
def test_patients_are_counted_by_split_and_class(monkeypatch, classes, patients):
    counted = census(classes, patients=patients, images=9 * patients)
    figure = figure_of(monkeypatch, counted, classes)
    texts = bar_texts(figure, f"{len(counted.patients):,} patients per split and class")
    numbers = [[int(text.split(" ")[0].replace(",", "")) for text in panel] for panel in texts]
    assert numbers == [[counted.patients_of(split, label) for split in counted.splits] for label in classes]
    assert "some have images of several classes" in heading_of(figure, "patients per split")
    images = bar_texts(figure, "images per split and class")
    numbers = [[int(text.split(" ")[0].replace(",", "")) for text in panel] for panel in images]
    assert numbers == [[counted.images[split, label] for split in counted.splits] for label in classes]


def test_patients_of_one_class_each_are_not_said_to_have_several(monkeypatch):
    counted = Census()
    for patient in range(12):
        counted.add(Sample(label="ab"[patient % 2], patient=str(patient)), SPLITS[patient % 3])
    heading = heading_of(figure_of(monkeypatch, counted, "ab"), "patients per split")
    assert heading == "12 patients per split and class (share of the split's patients)"


def test_unknown_patients_are_said_once_where_all_are_and_by_class_else(monkeypatch):
    nobody = figure_of(monkeypatch, census("ab", known=0.0), "ab")
    said = [text for text in drawn.words(nobody) if "unknown" in text]
    assert said == ["unknown for all 400 images"]
    assert "patients per class, images per patient" in drawn.words(nobody)
    counted = census("ab")
    for _ in range(30):
        counted.add(Sample(label="c"), "test")
    figure = figure_of(monkeypatch, counted, "abc")
    texts = bar_texts(figure, "patients per split")
    assert texts[2] == ["0 (0%)", "0 (0%)", "unknown"]
    assert "without 30 images of unknown patients" in heading_of(figure, "patients per split")


def test_headings_are_no_wider_than_the_page(monkeypatch):
    classes = [f"class {number}" for number in range(200)]
    figure = figure_of(
        monkeypatch,
        census(classes, folds(25), 1000, known=0.9, images=5000),
        classes,
        Background(before={"x": 1}),
    )
    drawn.drawn_texts(figure)
    for text in figure.texts:
        assert drawn.box_of(text).width < 8.7 * 150


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_nothing_stands_empty_above_the_ages(monkeypatch, alike, known):
    counted = Census()
    for number in range(60):
        patient = str(number // 3 if alike else number * number % 7) if known else ""
        counted.add(Sample(label="ab"[number % 2], patient=patient, width=50, height=50), SPLITS[number % 3])
    figure = figure_of(monkeypatch, counted, "ab", Background((40, 50), {"a": (40,), "b": (50,)}))
    drawn.drawn_texts(figure)
    (ages,) = (text for text in figure.texts if text.get_text().startswith("ages of"))
    above = [
        drawn.box_of(text).y0 for text in figure.texts if text.get_position()[1] > ages.get_position()[1]
    ]
    above += [
        axes.get_tightbbox().y0 for axes in figure.axes if axes.get_position().y0 > ages.get_position()[1]
    ]
    assert 0 < min(above) - drawn.box_of(ages).y1 < 150


def described(columns, classes=("a", "b"), images=200):
    """A dataset with metadata; `columns` make a text of a generator."""
    rng, counted = np.random.default_rng(0), Census()
    for number in range(images):
        metadata = tuple((name, make(rng)) for name, make in columns.items())
        patient = f"p{number % 20}"
        label = classes[rng.integers(len(classes))]
        counted.add(Sample(label=label, patient=patient, metadata=metadata), SPLITS[number % 3])
    return counted


DENSITY = {"density": lambda rng: str(rng.integers(1, 5))}
ODD = {name: lambda rng: drawn.NAMES[rng.integers(len(drawn.NAMES))] for name in drawn.NAMES}
LONG = {"long_name_" * 20: lambda rng: f"{rng.integers(3)} " + "endless text " * 40}


def test_without_metadata_nothing_is_said_of_it(monkeypatch):
    figure = figure_of(monkeypatch, census("ab"), "ab")
    assert not [text for text in drawn.words(figure) if "metadata" in text]
    assert draw_stats(census("ab"), "ab") == draw_stats(census("ab"), "ab", Background(positive="a"))


@pytest.mark.parametrize("columns", [DENSITY, ODD, LONG, {**DENSITY, **ODD, **LONG}])
@pytest.mark.parametrize("ages", [Background(), Background((40, 50), {"a": (40,), "b": (50,)})])
def test_metadata_lie_below_all_else_and_on_nothing(monkeypatch, columns, ages):
    counted = described(columns)
    assert 1300 < picture(counted, ("a", "b"), ages).width < 1650
    figure = figure_of(monkeypatch, counted, ("a", "b"), ages)
    assert drawn.overlapping(figure) == []
    assert drawn.formulas(figure) == []
    (heading,) = (text for text in figure.texts if text.get_text().startswith("images by their metadata"))
    others = [text for text in figure.texts if text.get_text().startswith(("ages of", "images per patient"))]
    assert all(heading.get_position()[1] < other.get_position()[1] for other in others)


@pytest.mark.parametrize("positive", ["a", "b", ""])
def test_bars_of_values_say_how_many_images_and_the_share_of_the_positive_class(monkeypatch, positive):
    counted = described(DENSITY)
    figure = figure_of(monkeypatch, counted, ("a", "b"), Background(positive=positive))
    (texts,) = bar_texts(figure, "images by their metadata")
    values = counted.strata.columns["density"]
    for value, text in zip("1234", texts, strict=True):
        share = 100 * values[value][positive or "b"] / values[value].total()
        assert text == f"{values[value].total()} ({share:.0f}%)"
    assert f"the share of {positive or 'b'} among" in heading_of(figure, "images by their metadata")


def test_metadata_that_are_not_drawn_are_named(monkeypatch):
    columns = {"exam": lambda rng: str(rng.integers(10**9)), "maker": lambda rng: "one"}
    figure = figure_of(monkeypatch, described(columns), "ab")
    assert "not shown: exam (too many values); maker (one value)" in drawn.words(figure)
    assert "metadata" in drawn.words(figure)
