"""Stains measured where they are known, and images that are to look alike afterwards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.errors import DataError, ImageError
from bccli.core.imaging.phantoms import draw_phantom
from bccli.core.imaging.stains.fits import ColourFit, StainFit, fit_from_json, fit_to_json, median_fit
from bccli.core.imaging.stains.normalisation import STAINS, normalise_stain, target_from_file
from tests.conftest import save
from tests.core.imaging.slides import (
    PINK,
    PURPLE,
    degrees_between,
    difference,
    draw_amounts,
    farthest,
    stain,
)

METHODS = sorted(STAINS)
STAINED = ["macenko", "vahadane"]
GREY = np.full((64, 64, 3), 140, np.uint8)


def measured(image: np.ndarray, method: str) -> Any:
    """The fit of an image that has one."""
    fit = STAINS[method].measure(image)
    assert fit is not None
    return fit


@pytest.mark.parametrize("fit", [PURPLE, PINK])
@pytest.mark.parametrize("seed", [0, 1])
def test_macenko_finds_the_stains_and_their_amounts(fit: StainFit, seed: int) -> None:
    found = measured(stain(draw_amounts(seed), fit), "macenko")
    assert farthest(found, fit) < 1
    assert found.maxima == pytest.approx(fit.maxima, rel=0.03)


@pytest.mark.parametrize("fit", [PURPLE, PINK])
def test_vahadane_finds_the_stains_but_for_its_sparsity(fit: StainFit) -> None:
    found = measured(stain(draw_amounts(0), fit), "vahadane")
    assert farthest(found, fit) < 2
    assert found.maxima == pytest.approx(fit.maxima, rel=0.05)


def test_reinhard_measures_tissue_not_glass() -> None:
    image = stain(draw_amounts(0), PURPLE)
    white = np.full_like(image, 245)
    alone, beside = (
        measured(pixels, "reinhard") for pixels in (image, np.concatenate([image, white], axis=1))
    )
    assert alone == beside


@pytest.mark.parametrize("method", METHODS)
def test_an_image_normalised_to_itself_stays(method: str) -> None:
    image = stain(draw_amounts(0), PURPLE)
    fit = measured(image, method)
    assert difference(STAINS[method].normalise(image, fit, fit), image) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_once_normalised_twice_normalised(method: str) -> None:
    target = measured(stain(draw_amounts(1), PINK), method)
    once, _ = normalise_stain(stain(draw_amounts(0), PURPLE), method, target)
    twice, _ = normalise_stain(once, method, target)
    assert difference(once, twice) <= 1.5


PALE = StainFit.of(*(np.array(row) for row in (PURPLE.haematoxylin, PURPLE.eosin, (0.8, 0.62))))


@pytest.mark.parametrize(
    ("method", "other"),
    # Means and deviations make up for strength, not for other stains in another proportion.
    [("macenko", PINK), ("vahadane", PINK), ("macenko", PALE), ("vahadane", PALE), ("reinhard", PALE)],
)
@pytest.mark.parametrize("seed", [2, 3])
def test_the_same_tissue_looks_the_same_whatever_its_stain(method: str, other: StainFit, seed: int) -> None:
    images = [stain(draw_amounts(seed), fit) for fit in (PURPLE, other)]
    target = measured(stain(draw_amounts(9), PINK), method)
    results = [normalise_stain(image, method, target)[0] for image in images]
    assert difference(*images) > 10
    assert difference(*results) < 1.5


def test_reinhard_gives_the_target_s_means_and_deviations() -> None:
    target = measured(stain(draw_amounts(1), PINK), "reinhard")
    image, _ = normalise_stain(stain(draw_amounts(0), PALE), "reinhard", target)
    found = measured(image, "reinhard")
    assert found.means == pytest.approx(target.means, rel=0.02, abs=0.02)
    assert found.deviations == pytest.approx(target.deviations, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_glass_stays_white_and_nuclei_bluer_than_stroma(method: str) -> None:
    concentrations = draw_amounts(0)
    image = stain(concentrations, PURPLE)
    image[:8] = 255
    result, done = normalise_stain(image, method, measured(stain(draw_amounts(1), PINK), method))
    assert done
    assert result[:8].min() >= 235
    nuclei, stroma = (concentrations[8:, :, k] > 0.6 for k in (0, 1))
    red, _, blue = result[8:][nuclei].mean(axis=0)
    assert blue > red
    assert result[8:][stroma].mean(axis=0)[0] > red + 30


@pytest.mark.parametrize("method", METHODS)
def test_a_large_image_is_measured_on_a_sample(method: str) -> None:
    image, _ = draw_phantom("histology", "benign", seed=0, patient=1, slide=1, number=1, size=(1024, 768))
    quarter = np.tile(image, (2, 2, 1))
    one, four = (np.concatenate(list(fit_to_json(measured(i, method)).values())) for i in (image, quarter))
    assert one == pytest.approx(four, rel=0.02, abs=0.005)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "image",
    [
        GREY,
        np.full_like(GREY, 255),
        np.zeros_like(GREY),
        np.full_like(GREY, (220, 120, 180)),
        np.repeat(np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2),
        stain(draw_amounts(0), PURPLE)[:5, :5],
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["grey", "white", "black", "one colour", "grey noise", "tiny", "one pixel"],
)
def test_what_has_no_stain_comes_back_unchanged(method: str, image: np.ndarray) -> None:
    result, done = normalise_stain(image, method, measured(stain(draw_amounts(0), PINK), method))
    assert not done
    assert result is image


@pytest.mark.parametrize("method", METHODS)
def test_a_little_tissue_on_much_glass_is_too_little(method: str) -> None:
    image = np.full((400, 400, 3), 238, np.uint8)
    image[:80, :80] = stain(draw_amounts(0, (80, 80)), PURPLE)
    assert STAINS[method].measure(image) is None
    assert STAINS[method].measure(image[:160, :160]) is not None


images = st.builds(
    lambda seed, height, width, low, high, tint: np.clip(
        np.random.default_rng(seed).integers(low, max(low, high) + 1, (height, width, 3)) + tint, 0, 255
    ).astype(np.uint8),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 255),
    st.integers(0, 255),
    st.tuples(*[st.integers(-60, 60)] * 3),
)


@pytest.mark.parametrize("method", METHODS)
@given(images)
@settings(deadline=None, max_examples=60)
def test_any_pixels_give_an_image(method: str, image: np.ndarray) -> None:
    before = image.copy()
    fit = STAINS[method].measure(image)
    if fit is not None:
        assert np.isfinite(np.concatenate(list(fit_to_json(fit).values()))).all()
    for target in (measured(stain(draw_amounts(0), PINK), method), STAINS[method].reference or fit):
        if target is None:
            continue
        result, done = normalise_stain(image, method, target)
        assert done == (fit is not None)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
    assert (image == before).all()


@pytest.mark.parametrize("method", METHODS)
def test_views_are_normalised_like_copies(method: str) -> None:
    image = stain(draw_amounts(0), PURPLE)
    view = image[10:80, 5:100]
    target = measured(stain(draw_amounts(1), PINK), method)
    results = [normalise_stain(pixels, method, target)[0] for pixels in (view, view.copy())]
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_survives_json_exactly(method: str) -> None:
    fit = measured(stain(draw_amounts(0), PURPLE), method)
    assert fit_from_json(STAINS[method].kind, json.loads(json.dumps(fit_to_json(fit)))) == fit
    assert {fit, fit} == {fit}


@pytest.mark.parametrize(
    "damage",
    [{}, {"maxima": [1, 2]}, [1], None, {"haematoxylin": [1, 0, 0], "eosin": [0, 1, 0], "maxima": [1]}],
)
def test_a_damaged_fit_is_refused(damage: object) -> None:
    with pytest.raises(DataError, match="damaged"):
        fit_from_json(StainFit, damage)  # type: ignore[arg-type]
    broken = fit_to_json(PINK) | {"maxima": [1.0, float("nan")]}
    with pytest.raises(DataError, match="damaged"):
        fit_from_json(StainFit, broken)


def test_the_median_takes_no_notice_of_order_or_outliers() -> None:
    rng = np.random.default_rng(0)
    fits = [
        StainFit.of(*(np.array(v) + rng.normal(0, 0.01, len(v)) for v in fit_to_json(PINK).values()))
        for _ in range(9)
    ]
    fits.append(StainFit.of(np.array([0, 0, 1.0]), np.array([1.0, 0, 0]), np.array([90.0, 90])))
    found = median_fit(fits)
    assert found == median_fit(fits[::-1])
    assert farthest(found, PINK) < 1
    assert np.linalg.norm(found.haematoxylin) == pytest.approx(1)
    assert found.maxima == pytest.approx(PINK.maxima, abs=0.02)
    colours = [ColourFit((1.0, 2.0, 3.0), (4.0, 5.0, value)) for value in (1.0, 9.0, 2.0)]
    assert median_fit(colours) == ColourFit((1.0, 2.0, 3.0), (4.0, 5.0, 2.0))


def test_no_median_of_nothing() -> None:
    with pytest.raises(DataError, match="target"):
        median_fit([])


@pytest.mark.parametrize("method", METHODS)
def test_a_target_comes_from_a_file(method: str, tmp_path: Path) -> None:
    image = stain(draw_amounts(0), PINK)
    assert target_from_file(save(tmp_path / "target.png", image), method) == measured(image, method)
    with pytest.raises(DataError, match=r"white\.png: too little stained tissue"):
        target_from_file(save(tmp_path / "white.png", np.full_like(image, 250)), method)
    with pytest.raises(DataError, match=r"missing\.png: does not exist") as refusal:
        target_from_file(tmp_path / "missing.png", method)
    assert not isinstance(refusal.value, ImageError)  # the run cannot go on, whatever --skip-bad says


@pytest.mark.parametrize("method", STAINED)
def test_the_reference_is_that_of_macenko_s_authors(method: str) -> None:
    reference: Any = STAINS[method].reference
    assert degrees_between(reference.haematoxylin, (0.5626, 0.7201, 0.4062)) < 0.01
    assert reference.maxima == (1.9705, 1.0308)
