"""The white edge of a film: found where there is one, and out of the grey range and the region."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bccli.core.imaging.equalising import Clahe
from bccli.core.imaging.film_edges import film_edge, trimmed
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.preparation import Preparation, prepare_image
from bccli.core.imaging.regions import Region, bounding_box, find_region, grown
from tests.commands.mammograms import box_of, lesion_mask, mammogram

WHITE = 65_535
SIZE = 240, 400
SIDES = "left", "right", "top", "bottom"


def strip(side: str, depth: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a strip along a side of an image."""
    height, width = shape
    return {
        "left": (slice(None), slice(0, depth)),
        "right": (slice(None), slice(width - depth, width)),
        "top": (slice(0, depth), slice(None)),
        "bottom": (slice(height - depth, height), slice(None)),
    }[side]


def film_with(side: str, depth: int, *, seed: int = 0, level: int = WHITE) -> tuple[np.ndarray, np.ndarray]:
    """A film with a strip of a level along a side, and where it is."""
    film = mammogram(seed, SIZE)
    there = np.zeros(film.shape, bool)
    there[strip(side, depth, film.shape)] = True
    return np.where(there, np.uint16(level), film), there


@given(side=st.sampled_from(SIDES), depth=st.integers(1, 40), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_saturated_strip_is_found_to_the_pixel(side: str, depth: int, seed: int) -> None:
    film, there = film_with(side, depth, seed=seed)
    found = film_edge(film)
    assert found is not None
    assert (found == there).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_films_of_every_depth_have_edges(kind: type) -> None:
    film, there = film_with("left", 6)
    levels = (film >> 8).astype(kind) if kind is np.uint8 else (film.astype(np.float64) / 2).astype(kind)
    found = film_edge(levels)
    assert found is not None
    assert (found == there).all()


def test_of_many_white_places_at_the_border_only_long_ones_are_an_edge() -> None:
    film = mammogram(0, SIZE)
    film[0, ::2] = WHITE  # a comb, and a line with a hole in it
    film[:, -1] = WHITE
    film[150:153, -1] = 0
    film[:, 0:3] = WHITE
    film[100:300, 0:3] = 0
    found = film_edge(film)
    assert found is not None
    assert found[5:, -1].sum() == 395 - 3
    assert found[5:100, :3].all()
    assert found[300:, :3].all()
    assert not found[5:, 3:-1].any()
    assert not found[100:300, :3].any()


def test_film_without_rays_beside_the_scanners_light_belongs_to_the_edge_with_its_blur() -> None:
    """As on the real films: 65,535, then some 60,000, then a fall within a few pixels."""
    film = mammogram(1, (1000, 800))
    film[:, :8] = WHITE
    film[:, 8:18] = 60_500
    film[:, 18:20] = 57_000, 50_000
    found = film_edge(film)
    assert found is not None
    assert found[:, :20].all()
    assert not found[:, 22:].any()
    film[:, :8] = 60_000  # and where the scanner saw nothing but film, while white is elsewhere
    film[300:304, 500:504] = WHITE
    found = film_edge(film)
    assert found is not None
    assert found[:, :20].all()
    assert not found[:, 22:].any()


@pytest.mark.parametrize("seed", range(5))
def test_films_without_a_white_edge_have_none(seed: int) -> None:
    film = mammogram(seed, SIZE)
    assert film_edge(film) is None
    rows, columns = np.mgrid[:400, :240]
    fading = np.clip(
        1.2 - np.hypot(columns / 240, (rows - 200) / 400), 0, 1
    )  # with a plateau at the chest wall
    assert film_edge((fading * 60_000).astype(np.uint16)) is None
    assert film_edge((fading * 255).astype(np.uint8)) is None
    label = film.copy()
    label[2:14, 200:218] = WHITE  # inside of the film, and at its border, but short
    assert film_edge(label) is None
    label[0:12, 220:230] = WHITE
    assert film_edge(label) is None


@pytest.mark.parametrize(
    "film", [np.zeros((50, 40), np.uint16), np.full((50, 40), 9, np.uint8), np.ones((3, 2))]
)
def test_images_of_one_value_or_next_to_no_pixels_have_no_edge(film: np.ndarray) -> None:
    assert film_edge(film) is None


def test_an_edge_does_not_stretch_the_greys_of_the_rest() -> None:
    """What is no edge looks as if the film had none; on the paper's way it is darker."""
    film, there = film_with("right", 9)
    plain = mammogram(0, SIZE)
    for step in (np.minimum(film, plain[~there].max()), plain[:, :-9]):
        assert step.max() == plain[~there].max()
    (honest,) = prepare_image(film, Preparation(trim_edge=True)).patches
    (paper,) = prepare_image(film, Preparation()).patches
    expected = to_rgb(plain[:, :-9])
    assert (honest.image[:, :-9] == expected).all()
    assert (honest.image[:, -9:] == 255).all()
    assert (paper.image == to_rgb(film)).all()
    assert paper.image[:, :-9].max() < 160


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("margin", [0, 7])
def test_a_region_ends_at_the_edge_and_has_its_own_range(side: str, margin: int) -> None:
    film, there = film_with(side, 6)
    middle = {"left": (6, 200), "right": (234, 200), "top": (120, 6), "bottom": (120, 394)}[side]
    rows, columns = np.mgrid[:400, :240]
    lesion = np.hypot(columns - middle[0], rows - middle[1]) <= 20
    mask = np.where(lesion | (there & (abs(columns - middle[0]) + abs(rows - middle[1]) < 60)), 255, 0)
    mask = mask.astype(np.uint8)
    inside = np.where(lesion & ~there, np.uint8(255), np.uint8(0))
    found = find_region(film, mask, Region("crop", margin), clahe=None, trim_edge=True)
    assert found.box == grown(bounding_box(inside), film.shape, margin=margin)
    assert found.mask is not None
    assert (found.mask == found.box.of(inside)).all()
    beside = ~found.box.of(there)
    part = np.where(beside, found.box.of(film), found.box.of(film)[beside].max())
    highest = film[~there].max()
    grey = cv2.normalize(np.minimum(film, highest), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    assert len(np.unique(part)) > 50
    part = found.box.of(grey)
    part = np.where(beside, part, part[beside].max())
    assert (found.image == cv2.normalize(part, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)).all()
    as_the_paper = find_region(film, mask, Region("crop", margin), clahe=None)
    assert as_the_paper.box == grown(bounding_box(mask), film.shape, margin=margin)


def test_slivers_beside_an_edge_are_no_region_but_fine_spicules_elsewhere_are() -> None:
    edge = np.zeros((1000, 800), bool)
    edge[:, :20] = True
    mask = np.zeros(edge.shape, np.uint8)
    mask[100:900, :22] = 255  # two columns of it are left of the blur
    mask[450:520, :90] = 255
    mask[480, 90:130] = 255  # one pixel wide
    assert bounding_box(trimmed(mask, edge)) == (20, 450, 130, 520)
    assert (trimmed(mask, None) == mask).all()
    alone = np.where(edge, mask, 0)
    assert (trimmed(alone, edge) == alone).all()


def test_contrast_in_tiles_hardly_sees_an_edge() -> None:
    """The peak that it is in a tile's histogram is cut off, so that tissue keeps its greys."""
    film, there = film_with("left", 6)
    plain = mammogram(0, SIZE)
    one, other = (
        find_region(image, None, None, clahe=Clahe(), trim_edge=True).image.astype(int)
        for image in (film, plain)
    )
    assert np.abs(one - other)[~there].mean() < 3
    assert np.abs(one - find_region(film, None, None, clahe=Clahe()).image)[~there].mean() > 20


def test_colours_have_no_edge_but_grey_in_three_channels_has() -> None:
    film, there = film_with("left", 6)
    grey = (film >> 8).astype(np.uint8)
    mask = np.where(lesion_mask(3, SIZE) | (there * np.uint8(255)), np.uint8(255), np.uint8(0))
    as_colours = np.repeat(grey[:, :, None], 3, axis=2)
    crop = Region("crop")
    for image in (grey, as_colours):
        found = find_region(image, mask, crop, clahe=None, trim_edge=True)
        assert found.box == box_of(lesion_mask(3, SIZE))
    stained = as_colours * np.array([1, 0, 1], np.uint8)
    assert find_region(stained, mask, crop, clahe=None, trim_edge=True).box == box_of(mask)


def test_real_films_keep_their_tissue_and_lose_their_edges(real_data: Path) -> None:
    """Looked at by eye: strips along the sides are found, at most 4 % of a film, and no breast."""
    films = sorted((real_data / "cbis-ddsm-samples" / "films").glob("*.png"))
    if not films:
        pytest.skip("no films of CBIS-DDSM here")
    for path in films:
        film = np.asarray(Image.open(path))
        edge = film_edge(film)
        assert edge is not None
        assert 0.001 < edge.mean() < 0.05
        height, width = film.shape
        assert not edge[height // 16 : -height // 16, width // 16 : -width // 16].any()


@pytest.mark.parametrize("name", ["P_00106_LEFT_CC_2", "P_01146_LEFT_CC_1", "P_01262_RIGHT_CC_2"])
def test_real_lesions_at_a_white_edge_are_regions_without_it(real_data: Path, name: str) -> None:
    """Crops whose pixels are black outside of the lesion's mask, which runs along the film's edge."""
    paths = sorted((real_data / "cbis-ddsm-samples" / "white-edge").glob(f"*{name}_*"))
    if not paths:
        pytest.skip("no crops of CBIS-DDSM here")
    film = np.asarray(Image.open(paths[0]))
    mask = np.where(film > 0, np.uint8(255), np.uint8(0))
    before = find_region(film, mask, Region("crop"), clahe=None)
    after = find_region(film, mask, Region("crop"), clahe=None, trim_edge=True)
    assert after.box is not None
    assert before.box is not None
    assert after.box.right - after.box.left < before.box.right - before.box.left
    share = (after.box.of(film) >= 0.98 * film.max()).mean()
    assert share < 0.02 < (before.box.of(film) >= 0.98 * film.max()).mean()
    tissue = (mask > 0) & (film < 0.85 * film.max())
    assert np.median(after.image[after.box.of(tissue)]) > np.median(before.image[before.box.of(tissue)])
