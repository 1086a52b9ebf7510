"""Phantoms: drawn again alike, classes told apart by structure and not by colour."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bccli.core.datasets.phantom import draw_sample, read_phantom
from bccli.core.errors import DataError
from bccli.core.imaging.phantoms import LABELS, PAINT_FUNCTIONS, draw_phantom

KINDS = sorted(PAINT_FUNCTIONS)
SEEDS = (0, 1, 2)


def draw(kind, label="benign", *, seed=0, patient=1, slide=1, number=1, **options):
    return draw_phantom(kind, label, seed=seed, patient=patient, slide=slide, number=number, **options)


@pytest.fixture(scope="module", params=KINDS)
def cohorts(request):
    """Per seed: colour features (400 × 6: means, then deviations), malignant or not, patient number."""
    return [measure_cohort(request.param, seed) for seed in SEEDS]


def measure_cohort(kind, seed):
    samples = list(read_phantom(kind, count=400, patients=40, seed=seed))
    images = [draw_sample(sample.source, seed=seed, size=(64, 64))[0] for sample in samples]
    malignant = np.array([sample.label == "malignant" for sample in samples])
    return measure(images), malignant, np.array([int(sample.patient[1:]) for sample in samples])


def measure(images):
    return np.array([np.r_[image.mean((0, 1)), image.std((0, 1))] for image in images])


def held_out_auc(features, malignant, patients):
    """Mean ROC AUC of a logistic regression on the half of the patients it has not seen."""
    first = patients <= np.median(patients)
    aucs = []
    for train in (first, ~first):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(features[train], malignant[train])
        aucs.append(roc_auc_score(malignant[~train], model.decision_function(features[~train])))
    return np.mean(aucs)


@pytest.mark.parametrize("columns", [3, 6], ids=["mean", "mean-and-deviation"])
def test_colour_does_not_tell_the_classes_apart(cohorts, columns):
    aucs = [held_out_auc(features[:, :columns], *rest) for features, *rest in cohorts]
    assert np.mean(aucs) < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_slide_has_the_same_colours_in_both_classes(kind):
    drawn = {label: measure([draw(kind, label, patient=n)[0] for n in range(100)]) for label in LABELS}
    gap = (drawn["malignant"] - drawn["benign"]).mean(axis=0)
    assert (np.abs(gap) < 0.25 * drawn["benign"].std(axis=0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_same_arguments_draw_the_same_pixels(kind):
    for one, two in zip(draw(kind), draw(kind), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"patient": 2}, {"slide": 3}, {"number": 2}, {"label": "malignant"}]
)
def test_every_argument_changes_the_pixels(kind, change):
    assert (draw(kind)[0] != draw(kind, **change)[0]).mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(128, 128), (96, 64), (40, 100), (224, 224)])
def test_shapes_and_types(kind, size):
    for label in LABELS:
        image, mask = draw(kind, label, size=size)
        assert image.shape == (*size[::-1], 3)
        assert mask.shape == size[::-1]
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}


def test_mammograms_are_grey():
    image, _ = draw("mammography")
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_images_differ_and_show_something(kind):
    samples = list(read_phantom(kind, count=120, patients=12, seed=5))
    images = [draw_sample(sample.source, seed=5)[0] for sample in samples]
    assert len({image.tobytes() for image in images}) == len(images)
    assert min(image.std() for image in images) > 12


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_both_classes_have_like_areas_inside_the_image(kind):
    masks = {label: [draw(kind, label, number=n)[1] > 0 for n in range(60)] for label in LABELS}
    areas = {label: np.mean([mask.mean() for mask in drawn]) for label, drawn in masks.items()}
    assert areas["malignant"] == pytest.approx(areas["benign"], rel=0.05)
    for mask in masks["benign"] + masks["malignant"]:
        assert 0.005 < mask.mean() < 0.5
        assert mask[1:-1, 1:-1].sum() == mask.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_masks_lie_on_what_they_mark(kind):
    """Glands and nests hold the nuclei, so they are darker; a mass is brighter than its breast."""
    for label in LABELS:
        image, mask = draw(kind, label)
        inside, outside = (image[region].mean() for region in (mask > 0, (mask == 0) & (image[..., 0] > 20)))
        assert inside < outside if kind == "histology" else inside > outside


@pytest.mark.parametrize("kind", KINDS)
def test_reader_spreads_images_over_patients_and_slides(kind):
    samples = list(read_phantom(kind, count=50, patients=8, seed=0))
    patients = sorted({sample.patient for sample in samples})
    assert len(samples) == 50
    assert patients == [f"P{number:03d}" for number in range(1, 9)]
    own = [[sample for sample in samples if sample.patient == patient] for patient in patients]
    assert sorted({len(images) for images in own}) == [6, 7]
    assert [len({image.source.split("/")[2] for image in images}) for images in own] == [2, 2, 3, 3] * 2
    assert [{image.label for image in images} for images in own] == [{"benign"}, {"malignant"}] * 4


def test_reader_is_stable_and_names_are_unique():
    first, second = (list(read_phantom("histology", count=40, patients=6, seed=0)) for _ in range(2))
    assert first == second
    assert len({sample.source for sample in first}) == 40
    assert all(one.source < two.source for one, two in pairwise(first))
    assert first[0].source == "histology/P001/slide1/P001_s1_001_benign.png"
    assert {sample.dataset for sample in first} == {"phantom"}


def test_only_mammograms_have_views():
    views = {(s.view, s.side) for s in read_phantom("mammography", count=30, patients=4, seed=0)}
    assert views == {("CC", "L"), ("MLO", "L"), ("CC", "R")}
    assert {s.view + s.side for s in read_phantom("histology", count=30, patients=4, seed=0)} == {""}


def test_side_decides_where_the_chest_wall_is():
    left, right = (draw("mammography", slide=slide)[0][64] for slide in (1, 3))
    assert left[:20].mean() > left[-20:].mean()
    assert right[:20].mean() < right[-20:].mean()


def test_a_source_is_all_it_takes():
    image, mask = draw_sample("histology/P003/slide2/P003_s2_007_malignant.png", seed=4)
    same = draw("histology", "malignant", seed=4, patient=3, slide=2, number=7)
    np.testing.assert_array_equal(image, same[0])
    np.testing.assert_array_equal(mask, same[1])


@pytest.mark.parametrize(
    ("kind", "count", "patients", "seed", "message"),
    [
        ("cytology", 10, 2, 0, "histology or mammography"),
        ("histology", 0, 2, 0, "must be positive"),
        ("histology", 10, -1, 0, "must be positive"),
        ("histology", 10, 1, 0, "at least 2 patients"),
        ("histology", 3, 4, 0, "at least one each"),
        ("histology", 10, 2, -1, "use 0 or more"),
    ],
)
def test_impossible_requests_are_refused(kind, count, patients, seed, message):
    with pytest.raises(DataError, match=message):
        next(read_phantom(kind, count=count, patients=patients, seed=seed))


@pytest.mark.parametrize(
    "source",
    [
        "a.png",
        "histology/P003/slide2/P004_s2_007_malignant.png",
        "cytology/P003/slide2/P003_s2_007_benign.png",
        "histology/P003/slide2/P003_s2_007_normal.png",
    ],
)
def test_other_names_are_refused(source):
    with pytest.raises(DataError):
        draw_sample(source, seed=0)
