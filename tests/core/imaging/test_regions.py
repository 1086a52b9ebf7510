"""Regions of mammograms: to the pixel what OpenCV makes of the whole image."""

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.errors import BccliError, DataError, ExcludedError, ImageError
from bccli.core.imaging import equalising
from bccli.core.imaging.contours import fill
from bccli.core.imaging.denoising import Denoising, denoise
from bccli.core.imaging.equalising import Box, Clahe, equalise_box
from bccli.core.imaging.fitting import FITS, cut_centre
from bccli.core.imaging.formats.decoding import decode, decode_deep
from bccli.core.imaging.greys import Greys
from bccli.core.imaging.regions import Region, bounding_box, check_aspect, find_region, grown, middle_of
from tests.conftest import save


def film(seed: int, height: int, width: int, depth: type = np.uint16) -> np.ndarray:
    """Smooth structures with noise, of a part of the range."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (height // 9 + 2, width // 9 + 2)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(
        0, 4, (height, width)
    )
    low, high = sorted(rng.integers(0, np.iinfo(depth).max, 2).tolist())
    spread = max(float(smooth.max() - smooth.min()), 1e-6)
    return (low + (smooth - smooth.min()) / spread * (high - low)).astype(depth)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[np.ndarray, Box]:
    """An image of 8 or 16 bits with sides of any divisor, and a box in it."""
    height, width = draw(st.integers(3, 150)), draw(st.integers(3, 150))
    if draw(st.booleans()):
        height, width = 8 * (height // 8 + 1), 8 * (width // 8 + 1)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    depth = draw(st.sampled_from([np.uint8, np.uint16, np.int16]))
    return film(draw(st.integers(0, 2**32 - 1)), height, width, depth), Box(left, top, right, bottom)


def whole(image: np.ndarray) -> np.ndarray:
    """Grey of 8 bits as OpenCV makes it."""
    return (
        image if image.dtype == np.uint8 else cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    )


def clahes() -> st.SearchStrategy[Clahe]:
    """Numbers of CLAHE: mostly the usual ones."""
    others = st.builds(Clahe, st.floats(0.1, 256), st.integers(1, 64))
    return st.sampled_from([Clahe(), Clahe(clip=4.0), Clahe(tiles=5)]) | others


@settings(max_examples=150, deadline=None)
@given(boxes(), clahes())
def test_a_part_is_equalised_as_the_whole_image_is(example: tuple[np.ndarray, Box], clahe: Clahe) -> None:
    image, box = example
    assert equalising._is_mirrored()  # or the fast way would not be tested
    grid = (clahe.tiles, clahe.tiles)
    equalised = cv2.createCLAHE(clipLimit=clahe.clip, tileGridSize=grid).apply(whole(image))
    assert np.array_equal(equalise_box(Greys(image), box, clahe), box.of(equalised))
    assert np.array_equal(Greys(image).whole(), whole(image))


def test_where_opencv_computes_otherwise_it_equalises_the_whole_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, box = film(0, 70, 50), Box(3, 4, 40, 30)
    expected = equalise_box(Greys(image), box)
    monkeypatch.setattr(equalising, "_is_mirrored", lambda: False)
    monkeypatch.setattr(equalising, "_equalise_box", lambda *_: pytest.fail("the fast way was taken"))
    assert np.array_equal(equalise_box(Greys(image), box), expected)


@pytest.mark.parametrize("height", [1, 40, 127, 128, 129, 320])
def test_bands_of_rows_are_denoised_as_the_whole_image_is(height: int) -> None:
    noisy = film(height, height, 90, np.uint8)
    assert np.array_equal(denoise(noisy), cv2.fastNlMeansDenoising(noisy))
    strong = Denoising(strength=9.5, template=5, search=11)
    assert np.array_equal(denoise(noisy, strong), cv2.fastNlMeansDenoising(noisy, None, 9.5, 5, 11))


@settings(max_examples=40, deadline=None)
@given(boxes(), st.integers(0, 40))
def test_a_region_is_the_box_of_its_mask_with_a_margin(example: tuple[np.ndarray, Box], margin: int) -> None:
    image, box = example
    mask = np.zeros(image.shape, np.uint8)
    mask[box.top, box.left] = mask[box.bottom - 1, box.right - 1] = 255
    found = find_region(image, mask, Region("crop", margin), clahe=None)
    assert found.box is not None
    assert found.box.left == max(box.left - margin, 0)
    assert found.box.bottom == min(box.bottom + margin, len(image))
    part = found.box.of(whole(image))
    assert np.array_equal(found.image, cv2.normalize(part, None, 0, 255, cv2.NORM_MINMAX))
    assert found.mask is not None
    assert found.mask.shape == found.image.shape
    assert bounding_box(mask) == box


@pytest.mark.parametrize(
    ("marked", "context", "margin", "box"),
    [
        ((40, 30, 60, 40), 0.5, 0, (35, 27, 65, 43)),  # 20 and 10 pixels grow by 10 and 5
        ((40, 30, 60, 40), 0.5, 3, (32, 24, 68, 46)),
        ((40, 30, 60, 40), 2, 0, (20, 20, 80, 50)),
        ((40, 30, 60, 40), 0.1, 0, (39, 29, 61, 41)),
        ((40, 30, 70, 60), 0.2, 0, (37, 27, 73, 63)),  # 0.2 · 30 is more than 6 by a hair
        ((40, 30, 41, 31), 0.01, 0, (39, 29, 42, 32)),
        ((40, 30, 60, 40), 0, 0, (40, 30, 60, 40)),
        ((0, 0, 20, 10), 0.5, 0, (0, 0, 25, 13)),
        ((80, 0, 100, 10), 0.5, 0, (75, 0, 100, 13)),
        ((0, 70, 20, 80), 0.5, 0, (0, 67, 25, 80)),
        ((80, 70, 100, 80), 0.5, 0, (75, 67, 100, 80)),
        ((10, 10, 90, 70), 10, 0, (0, 0, 100, 80)),
    ],
)
def test_a_region_grows_by_a_share_of_its_size_as_far_as_the_film_goes(
    marked: tuple[int, ...], context: float, margin: int, box: tuple[int, ...]
) -> None:
    image, mask = film(3, 80, 100), np.zeros((80, 100), np.uint8)
    Box(*marked).of(mask)[:] = 255
    found = find_region(image, mask, Region("crop", margin, context), clahe=None)
    assert found.box == box
    part = Box(*box).of(whole(image))
    assert np.array_equal(found.image, cv2.normalize(part, None, 0, 255, cv2.NORM_MINMAX))
    assert found.mask is not None
    assert np.array_equal(found.mask, Box(*box).of(mask))


@settings(max_examples=200, deadline=None)
@given(boxes(), st.floats(0, 10), st.integers(0, 40))
def test_a_grown_box_holds_the_box_and_lies_in_the_film(
    example: tuple[np.ndarray, Box], context: float, margin: int
) -> None:
    image, box = example
    height, width = image.shape
    found = grown(box, image.shape[:2], margin=margin, context=context)
    assert 0 <= found.left <= box.left < box.right <= found.right <= width
    assert 0 <= found.top <= box.top < box.bottom <= found.bottom <= height
    wanted = (1 + context) * (box.right - box.left) + 2 * margin
    assert found.right - found.left < wanted + 2
    if found.left > 0 and found.right < width:
        assert found.right - found.left >= wanted - 1e-4
        assert found.left + found.right == box.left + box.right
    assert grown(box, image.shape[:2]) == box


def test_colours_become_their_luminance_and_deep_kinds_are_stretched() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    assert np.abs(Greys(colour).whole().astype(int) - colour @ np.array([0.299, 0.587, 0.114])).max() <= 1
    for depth in (np.float32, np.int32, np.uint32):
        deep = (np.arange(256).reshape(16, 16) * 77 + 5).astype(depth)
        assert np.array_equal(Greys(deep).whole(), np.arange(256).reshape(16, 16))


def test_a_region_without_a_mask_is_excluded_and_an_empty_one_is_bad() -> None:
    image = film(1, 20, 20)
    with pytest.raises(ExcludedError, match="no region") as caught:
        find_region(image, None, Region("crop"), clahe=Clahe())
    assert caught.value.kind == "no_region"
    for roi in ("crop", "mask"):
        with pytest.raises(ImageError, match="empty mask"):
            find_region(image, np.zeros((20, 20), np.uint8), Region(roi), clahe=Clahe())


@pytest.mark.parametrize(
    ("size", "inside"), [((40, 100), True), ((39, 100), False), ((150, 100), True), ((151, 100), False)]
)
def test_the_limits_of_the_aspect_ratio_are_inside(size: tuple[int, int], inside: bool) -> None:
    image = np.zeros((size[1], size[0]), np.uint8)
    if inside:
        check_aspect(image, (0.4, 1.5))
    else:
        with pytest.raises(ExcludedError, match=r"not within 0\.4 and 1\.5"):
            check_aspect(image, (0.4, 1.5))


@pytest.mark.parametrize(
    ("size", "method"), [((9, 7), cv2.INTER_AREA), ((30, 40), cv2.INTER_CUBIC), ((9, 40), cv2.INTER_CUBIC)]
)
def test_grey_is_resized_by_opencv_area_down_and_cubic_up(size: tuple[int, int], method: int) -> None:
    image = film(2, 20, 20, np.uint8)
    assert np.array_equal(FITS["stretch"](image, size), cv2.resize(image, size, interpolation=method))


def test_the_centre_is_cut_out_and_must_be_there() -> None:
    image = np.arange(48).reshape(6, 8).astype(np.uint8)
    assert np.array_equal(cut_centre(image, (4, 2)), image[2:4, 2:6])
    with pytest.raises(ImageError, match="smaller"):
        cut_centre(image, (9, 2))


def outline(
    points: list[tuple[int, int]], size: int = 200, *, closed: bool = True, thick: int = 1
) -> np.ndarray:
    """A mask with a line through the points."""
    mask = np.zeros((size, size), np.uint8)
    cv2.polylines(mask, [np.array(points, np.int32)], closed, 255, thick)
    return mask


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(25, 80), min_size=5, max_size=14), st.sampled_from([1, 2, 4]))
def test_a_closed_line_of_any_form_is_filled(radii: list[int], thick: int) -> None:
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    points = [
        (int(100 + r * np.cos(a)), int(100 + r * np.sin(a))) for r, a in zip(radii, angles, strict=True)
    ]
    line = outline(points, thick=thick)
    around = np.pad(line, 1)
    cv2.floodFill(around, None, (0, 0), 128)
    expected = np.where(around[1:-1, 1:-1] == 128, 0, 255).astype(np.uint8)
    assert np.count_nonzero(expected) > 3 * np.count_nonzero(line) / thick
    assert np.array_equal(fill(line), expected)
    assert np.array_equal(fill(expected), expected)


def test_gaps_are_bridged_and_lines_cut_off_by_the_edge_become_their_hull() -> None:
    ring = outline([(60, 60), (140, 60), (140, 140), (60, 140)])
    ring[60, 100:105] = 0
    assert fill(ring)[100, 100]
    cut_off = outline([(0, 60), (70, 60), (70, 140), (0, 140)], closed=False)
    assert fill(cut_off)[100, 30]
    assert not fill(cut_off)[100, 90]
    assert not fill(np.zeros((9, 9), np.uint8)).any()


def test_what_is_decoded_deep_is_decoded_once(tmp_path) -> None:  # type: ignore[no-untyped-def]
    deep = film(3, 12, 9)
    path = save(tmp_path / "a.png", deep)
    assert np.array_equal(decode_deep(path), deep)
    assert not decode_deep(path).flags.writeable
    assert decode(path).shape == (12, 9, 3)
    assert decode(path).max() == 255


def test_an_opencv_that_cannot_be_loaded_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BccliError, match="opencv-python-headless"):
        denoise(np.zeros((8, 8), np.uint8))


@given(
    st.integers(1, 400),
    st.integers(12, 300),
    st.floats(0.25, 20),
    st.integers(0, 30),
)
def test_the_middle_part_holds_a_box_that_has_grown_and_hardly_more(
    lesion: int, size: int, context: float, margin: int
) -> None:
    """Of an image that the box and its surroundings were stretched to."""
    box = Box(9000, 9000, 9000 + lesion, 9000 + lesion)
    crop = grown(box, (20_000, 20_000), margin=margin, context=context)
    middle = middle_of((size, 300), context)
    scale = size / (crop.right - crop.left)
    assert middle.left == size - middle.right
    assert middle.left <= (box.left - crop.left) * scale + 1e-5
    assert middle.right >= (box.right - crop.left) * scale - 1e-5
    assert -1e-4 <= middle.right - middle.left - size / (1 + context) < 2


def test_a_middle_part_that_is_the_whole_is_refused() -> None:
    assert middle_of((4, 4), 1.0) == Box(1, 1, 3, 3)
    for size, context in (((3, 40), 1.0), ((40, 3), 1.0), ((128, 128), 0.01)):
        with pytest.raises(DataError, match=r"a --context of .* less than a pixel .* --size"):
            middle_of(size, context)
