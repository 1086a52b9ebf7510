"""One size for all images, to the pixel."""

from dataclasses import asdict

import click
import numpy as np
import pytest
from PIL import Image

from bccli.commands.prepare import prepare
from bccli.core.errors import DataError
from bccli.core.imaging.denoising import Denoising
from bccli.core.imaging.equalising import Box, Clahe
from bccli.core.imaging.fitting import FITS, INTERPOLATIONS, crop, fit_mask, pad, stretch
from bccli.core.imaging.preparation import (
    Patches,
    Preparation,
    Stain,
    preparation_from_json,
    prepare_image,
    raw_box,
)
from bccli.core.imaging.regions import Region
from bccli.core.imaging.stains.fits import StainFit

RNG = np.random.default_rng(0)


def colour(*shape: int) -> np.ndarray:
    """Random RGB pixels (height, width, 3)."""
    return RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(24, 24), (30, 10), (10, 30), (1, 1), (7, 50)])
@pytest.mark.parametrize("shape", [(24, 24), (13, 40), (40, 13), (1, 1), (1, 90)])
def test_the_size_is_always_the_one_asked_for(
    fit: str, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    image = FITS[fit](colour(*shape), size)
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_that_size_is_left_alone(fit: str) -> None:
    image = colour(12, 20)
    assert (FITS[fit](image, (20, 12)) == image).all()


def test_shrinking_averages_areas() -> None:
    image = colour(8, 12)
    blocks = image.reshape(4, 2, 6, 2, 3).astype(np.float64).mean(axis=(1, 3))
    assert abs(stretch(image, (6, 4)) - blocks).max() <= 1  # rounded once along each axis


def test_enlarging_is_cubic() -> None:
    """A cubic curve overshoots at an edge, a linear one does not, and a flat field stays flat."""
    ramp = np.repeat(np.array([[100, 100, 100, 150, 150, 150]], np.uint8)[:, :, None], 3, axis=2)
    enlarged = stretch(ramp, (24, 1))
    assert enlarged.min() < 100
    assert enlarged.max() > 150
    assert (stretch(np.full((3, 3, 3), 77, np.uint8), (9, 9)) == 77).all()


def test_padding_keeps_the_aspect_ratio_and_fills_with_black() -> None:
    image = colour(10, 20) // 2 + 100
    padded = pad(image, (20, 20))
    assert (padded[5:15] == image).all()
    assert (padded[:5] == 0).all()
    assert (padded[15:] == 0).all()
    half = pad(image, (10, 10))
    assert (half[2:7] == stretch(image, (10, 5))).all()
    assert (half[:2] == 0).all()
    assert (half[7:] == 0).all()


def test_cropping_keeps_the_middle() -> None:
    image = colour(10, 20)
    assert (crop(image, (10, 10)) == image[:, 5:15]).all()
    assert (crop(image, (20, 20)) == stretch(image, (40, 20))[:, 10:30]).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS[1:])
@pytest.mark.parametrize("size", [(6, 4), (30, 21), (6, 40)])
def test_colours_are_resized_by_pillow_with_the_filter_of_the_name(
    interpolation: str, size: tuple[int, int]
) -> None:
    image = colour(9, 13)
    expected = Image.fromarray(image).resize(size, Image.Resampling[PILLOW[interpolation]])
    assert np.array_equal(stretch(image, size, interpolation=interpolation), np.asarray(expected))


PILLOW = {"nearest": "NEAREST", "linear": "BILINEAR", "area": "BOX", "cubic": "BICUBIC", "lanczos": "LANCZOS"}


@pytest.mark.parametrize("size", [(7, 5), (31, 22)])
def test_nearest_pixels_of_an_image_are_those_of_its_mask(size: tuple[int, int]) -> None:
    """Grey or in colours: both stay in register."""
    grey = RNG.integers(0, 256, (11, 17), dtype=np.uint8)
    for image in (grey, np.stack([grey] * 3, axis=2)):
        (piece,) = prepare_image(image, Preparation(size=size, interpolation="nearest"), grey).patches
        assert piece.mask is not None
        assert np.array_equal(piece.image[:, :, 1], piece.mask)


@pytest.mark.parametrize("fit", FITS)
def test_a_mask_moves_with_its_image_and_keeps_two_values(fit: str) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:50] = 255
    for size in ((30, 20), (90, 90), (13, 29)):
        (piece,) = prepare_image(image, Preparation(size=size, fit=fit), image[:, :, 0]).patches
        mask = piece.mask
        assert mask is not None
        assert mask.shape == (size[1], size[0])
        assert set(np.unique(mask)) <= {0, 255}
        shown = piece.image[:, :, 0]
        assert (mask[shown == 255] == 255).mean() > 0.95
        assert (mask[shown == 0] == 0).mean() > 0.95


def test_without_a_size_nothing_changes() -> None:
    image = colour(5, 9)
    (piece,) = prepare_image(image, Preparation()).patches
    assert piece.image is image


def test_an_absurd_crop_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(DataError, match="too narrow"):
        crop(np.zeros((1, 50_000, 3), np.uint8), (4000, 4000))


def test_preparations_survive_json() -> None:
    target = StainFit((0.6, 0.7, 0.3), (0.1, 0.9, 0.2), (1.5, 0.9))
    for preparation in (
        Preparation(),
        Preparation(size=(30, 20), fit="crop"),
        *(Preparation(size=(30, 20), interpolation=name) for name in INTERPOLATIONS),
        Preparation(clahe=Clahe(), denoise=Denoising()),
        Preparation(clahe=Clahe(3.5, 4), denoise=Denoising(8.0, 5, 15)),
        Preparation(Stain("macenko", target), Patches(512, 256, 0.3, 0.05)),
        Preparation(Stain("vahadane"), Patches(50, 50)),
        Preparation(patches=Patches(50, 40, breast=0.1, to_edges=True)),
    ):
        assert preparation_from_json(preparation.to_json()) == preparation


@pytest.mark.parametrize(
    "value",
    [
        {"size": None, "fit": "pad", "tilt": 3},
        {"size": [3, 4], "fit": "squeeze"},
        {"size": [3, 4], "fit": "pad", "interpolation": "guess"},
    ],
)
def test_an_unknown_step_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"'tilt'|'squeeze'|'guess'"):
        preparation_from_json(value)


@pytest.mark.parametrize("key", ["size", "fit", "patch", "stride", "aspect", "center_crop", "roi", "margin"])
def test_steps_that_were_edited_are_refused(key: str) -> None:
    region = {"roi": "crop", "margin": 2, "aspect": [0.5, 2.0], "center_crop": [4, 4]}
    whole = {"size": [8, 8], "fit": "pad", "patch": 8, "stride": 8, **region}
    preparation_from_json(whole)
    optional = key in ("patch", "aspect", "center_crop", "roi")
    spoilt = [{**whole, key: value} for value in ([], {"a": 1}) if key not in ("patch", "stride", "margin")]
    for value in spoilt + ([] if optional else [{name: whole[name] for name in whole if name != key}]):
        with pytest.raises(DataError, match="preparation"):
            preparation_from_json(value)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.5", None, True, [0.5]])
def test_a_context_that_is_no_share_is_refused(value: object) -> None:
    whole = {"size": None, "fit": "pad", "roi": "crop", "margin": 2}
    assert preparation_from_json(whole).region == Region("crop", 2)
    stored = Preparation(fit="pad", region=Region("crop", 2, 0.5)).to_json()
    assert stored == {**whole, "context": 0.5}
    assert preparation_from_json(stored).region == Region("crop", 2, 0.5)
    with pytest.raises(DataError, match="preparation"):
        preparation_from_json({**whole, "context": value})


def test_steps_without_their_numbers_have_the_usual_ones() -> None:
    stored = {"size": None, "fit": "stretch", "clahe": True, "denoise": True}
    assert preparation_from_json(stored) == Preparation(clahe=Clahe(2.0, 8), denoise=Denoising(3.0, 7, 21))


def test_the_options_of_prepare_have_the_names_and_numbers_of_the_steps() -> None:
    options = {param.name: param for param in prepare.params}
    kind = options["interpolation"].type
    assert isinstance(kind, click.Choice)
    assert tuple(kind.choices) == INTERPOLATIONS
    for step, record in (("clahe", Clahe()), ("denoise", Denoising())):
        for name, value in asdict(record).items():
            assert options[f"{step}_{name}"].default == value


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(50, 40), (100, 90), None])
@pytest.mark.parametrize("centre", [None, (30, 30)])
def test_a_box_in_the_prepared_image_is_found_in_the_raw_one(
    fit: str, size: tuple[int, int] | None, centre: tuple[int, int] | None
) -> None:
    """A bright square, put through the preparation and back."""
    raw = np.zeros((72, 61, 3), np.uint8)
    raw[30:42, 24:36] = 255
    preparation = Preparation(size=size, fit=fit, centre=centre)
    (piece,) = prepare_image(raw, preparation).patches
    rows, columns = (np.flatnonzero((piece.image[..., 0] > 127).any(axis=axis)) for axis in (1, 0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    found = raw_box(box, preparation, (72, 61))
    assert found == pytest.approx((24, 30, 36, 42), abs=2)
    assert raw_box(Box(0, 0, 1, 1), Preparation(size=(90, 40), fit="pad"), (72, 61)) == (0, 0, 61, 72)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (301, 47), (8, 900)])
def test_something_is_left_of_every_mask_unless_it_is_cut_away(fit: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    for _ in range(30):
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask = np.zeros(shape, np.uint8)
        mask[row, column] = 255
        found = fit_mask(mask, fit, (24, 16))
        assert found.shape == (16, 24)
        wide = FITS[fit](np.full(shape, 255, np.uint8), (24, 16), interpolation="nearest")
        assert not (found & ~wide).any()
        assert found.any() or fit == "crop"
        assert np.count_nonzero(found) <= 9


def test_a_mask_of_which_pixels_are_hit_is_not_widened() -> None:
    mask = np.zeros((300, 200), np.uint8)
    mask[100:160, 40:90] = 255
    for fit in FITS:
        assert (fit_mask(mask, fit, (24, 16)) == FITS[fit](mask, (24, 16), interpolation="nearest")).all()
