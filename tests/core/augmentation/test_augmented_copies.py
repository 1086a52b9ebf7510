"""What policies make of images: how often, within which bounds, and always the same."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bccli.core.augmentation import (
    Operation,
    Policy,
    augmented_copy,
    augmented_copy_with_mask,
    built_in,
    draw,
    find_policy,
    library,
    policy_from_json,
)
from bccli.core.errors import BccliError
from bccli.core.imaging.stains.deconvolution import RUIFROK
from bccli.core.imaging.stains.densities import TISSUE, densities_of
from bccli.core.workers import in_order
from tests.core.imaging.slides import PINK, amounts_in, draw_amounts, stain

DRAWS = 2000
FIVE_SIGMA = 5 / (2 * DRAWS**0.5)  # of a share, whatever it is

RNG = np.random.default_rng(0)
COLOURED = RNG.integers(0, 256, (40, 40, 3), np.uint8)
WIDE = RNG.integers(0, 256, (30, 50, 3), np.uint8)


def policy(*operations: dict[str, object]) -> Policy:
    """A policy of operations as in a file."""
    return policy_from_json({"operations": list(operations)}, "test")


def draws_of(name: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The share of copies that each operation fell to, and all values of its parameters."""
    counts: Counter[str] = Counter()
    values: dict[str, list[float]] = {}
    for number in range(DRAWS):
        for one in draw(find_policy(name), seed=0, image="raw.png", number=number):
            counts[one.operation.augmenter] += 1
            for parameter, value in one.values.items():
                values.setdefault(f"{one.operation.augmenter}.{parameter}", []).append(value)
    shares = {augmenter: count / DRAWS for augmenter, count in counts.items()}
    return shares, {key: np.array(list_) for key, list_ in values.items()}


def assert_even(values: np.ndarray, low: float, high: float) -> None:
    """All of the range is drawn from, and evenly."""
    assert low <= values.min() < low + 0.02 * (high - low)
    assert high >= values.max() > high - 0.02 * (high - low)
    counts, _ = np.histogram(values, 4, (low, high))
    assert counts / len(values) == pytest.approx(np.full(4, 0.25), abs=0.06)


def test_table_5_has_the_paper_s_probabilities_and_ranges() -> None:
    shares, values = draws_of("table5")
    expected = {
        "InnerRotate": 0.95,
        "InnerShear": 0.6,
        "Zoom": 1.0,
        "Fliplr": 0.7,
        "AllChannelsHistogramEqualization": 0.6,
        "Multiply": 0.8,
    }
    assert shares == pytest.approx(expected, abs=FIVE_SIGMA)
    assert_even(values["InnerRotate.rotate"], -15, 15)
    assert_even(values["InnerShear.shear"], -25, 25)
    assert_even(values["Zoom.factor"], 1.0, 1.2)
    assert_even(values["Multiply.mul"], 0.6, 1.2)
    assert (values["InnerShear.axis"] == "x").mean() == pytest.approx(0.5, abs=2 * FIVE_SIGMA)


def test_zoom_draws_both_axes_apart() -> None:
    shares, values = draws_of("zoom")
    assert shares == {"KerasZoom": 1.0}
    assert_even(values["KerasZoom.zoom_x"], 0.8, 1.2)
    assert_even(values["KerasZoom.zoom_y"], 0.8, 1.2)
    assert abs(np.corrcoef(values["KerasZoom.zoom_x"], values["KerasZoom.zoom_y"])[0, 1]) < 0.1


def test_jitter_draws_both_stains_apart() -> None:
    _, values = draws_of("he-jitter")
    assert_even(values["Stains.haematoxylin"], 0.7, 1.3)
    assert_even(values["Stains.eosin"], 0.7, 1.3)
    assert abs(np.corrcoef(values["Stains.haematoxylin"], values["Stains.eosin"])[0, 1]) < 0.1


@pytest.mark.parametrize(("name", "variants"), [("flips", 4), ("right-angles", 3), ("hybrid", 8)])
def test_geometries_are_equally_frequent_in_the_pixels(name: str, variants: int) -> None:
    geometry = Policy(name, tuple(one for one in find_policy(name).operations if one.augmenter != "Stains"))
    small = RNG.integers(0, 256, (5, 5, 3), np.uint8)
    seen = Counter(
        augmented_copy(geometry, small, seed=1, image="raw.png", number=number).tobytes()
        for number in range(DRAWS)
    )
    assert len(seen) == variants
    expected = pytest.approx(1 / variants, abs=FIVE_SIGMA)
    assert all(count / DRAWS == expected for count in seen.values())


@pytest.mark.parametrize("k", [0, 1, 2, 3, -1])
def test_right_angles_are_those_of_numpy(k: int) -> None:
    turned = augmented_copy(policy({"augmenter": "Rot90", "k": k}), COLOURED, seed=0, image="a", number=1)
    assert (turned == np.rot90(COLOURED, k)).all()


def test_the_policy_of_right_angles_makes_nothing_else() -> None:
    turns = [np.rot90(COLOURED, k).tobytes() for k in (1, 2, 3)]
    right_angles = find_policy("right-angles")
    seen = {augmented_copy(right_angles, COLOURED, seed=0, image="a", number=n).tobytes() for n in range(30)}
    assert seen == set(turns)


def test_a_quarter_turn_of_an_oblong_image_is_half_a_turn() -> None:
    turned = augmented_copy(policy({"augmenter": "Rot90", "k": 1}), WIDE, seed=0, image="a", number=1)
    assert (turned == np.rot90(WIDE, 2)).all()


@pytest.mark.parametrize(
    ("operation", "theirs"),
    [
        ({"augmenter": "Fliplr"}, {"p": 1.0}),
        ({"augmenter": "Flipud"}, {"p": 1.0}),
        ({"augmenter": "Multiply", "mul": 0.7}, {"mul": 0.7}),
        ({"augmenter": "Multiply", "mul": 1.3}, {"mul": 1.3}),
        ({"augmenter": "Rot90", "k": 2}, {"k": 2}),
        ({"augmenter": "AllChannelsHistogramEqualization"}, {}),
    ],
)
def test_what_has_imgaug_s_name_makes_imgaug_s_pixels(operation: dict, theirs: dict) -> None:
    ours = augmented_copy(policy(operation), COLOURED, seed=0, image="a", number=1)
    expected, _ = library.apply(operation["augmenter"], theirs, 0, COLOURED, None)
    assert (ours == expected).all()


def test_imgaug_does_what_it_knows_more_of() -> None:
    assert policy({"augmenter": "Multiply", "mul": [0.5, 1.5]}).operations[0].own
    assert not policy({"augmenter": "Multiply", "mul": [0.5, 1.5], "per_channel": True}).operations[0].own


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_zoom_is_keras_s() -> None:
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    smooth = np.add.outer(np.arange(40) * 3, np.arange(40) * 2)[..., None].repeat(3, 2).astype(np.uint8)
    ours = augmented_copy(
        policy({"augmenter": "KerasZoom", "zoom_x": 1.2, "zoom_y": 0.85}), smooth, seed=0, image="a", number=1
    )
    theirs = apply_affine_transform(
        smooth.astype(np.float64), zx=1.2, zy=0.85, row_axis=0, col_axis=1, channel_axis=2
    )
    assert abs(ours - theirs).max() <= 1.0


@pytest.mark.parametrize("name", ["table5", "zoom", "mammography", "histology", "hybrid", "flips"])
def test_no_black_corners(name: str) -> None:
    geometry = [
        one
        for one in find_policy(name).operations
        if one.augmenter
        in ("InnerRotate", "InnerShear", "Zoom", "KerasZoom", "ElasticTransformation", "Rot90", "Fliplr")
    ]
    white = np.full((48, 64, 3), 255, np.uint8)
    for number in range(40):
        moved = augmented_copy(Policy(name, tuple(geometry)), white, seed=0, image="a", number=number)
        assert moved.min() == 255


def test_jitter_moves_each_stain_by_its_factor_and_leaves_the_glass() -> None:
    amounts = draw_amounts(0)
    image = stain(amounts, PINK)
    glass = densities_of(image)[..., 1] < TISSUE
    image[:3] = (250, 251, 252)  # brighter than WHITE_LEVEL
    glass[:3] = True
    strong = densities_of(image)[..., 1] > 2 * TISSUE
    assert glass.mean() > 0.05
    assert strong.mean() > 0.2
    before = amounts_in(image, RUIFROK)
    for number in range(10):
        (one,) = draw(find_policy("he-jitter"), seed=0, image="a", number=number)
        moved = augmented_copy(find_policy("he-jitter"), image, seed=0, image="a", number=number)
        assert (moved[glass] == image[glass]).all()
        after = amounts_in(moved, RUIFROK)
        visible = strong & (moved.min(axis=2) > 8) & (moved.max(axis=2) < 247)
        for stained, name in enumerate(("haematoxylin", "eosin")):
            much = visible & (before[..., stained] > 0.3)
            ratio = np.median(after[much][:, stained] / before[much][:, stained])
            assert ratio == pytest.approx(one.values[name], abs=0.02)


def test_grey_images_stay_grey_and_are_augmented_alike() -> None:
    grey = RNG.integers(0, 256, (40, 40, 1), np.uint8).repeat(3, 2)
    moved = augmented_copy(find_policy("table5"), grey, seed=0, image="a", number=3)
    assert (moved == moved[..., :1]).all()
    almost = grey.copy()
    almost[0, 0, 0] ^= 1  # one pixel of colour, and three channels are computed
    other = augmented_copy(find_policy("table5"), almost, seed=0, image="a", number=3)
    assert np.median(abs(moved.astype(int) - other)) <= 1


def test_the_image_given_is_not_changed_nor_given_back() -> None:
    before = COLOURED.copy()
    for name in built_in():
        result = augmented_copy(find_policy(name), COLOURED, seed=0, image="a", number=1)
        assert not np.shares_memory(result, COLOURED)
        assert (before == COLOURED).all()
        assert (result.shape, result.dtype) == (COLOURED.shape, COLOURED.dtype)


def _bytes_of(job: tuple[str, int]) -> bytes:
    name, number = job
    return augmented_copy(find_policy(name), COLOURED, seed=7, image="raw/é.png", number=number).tobytes()


JOBS = [(name, number) for name in built_in() for number in (1, 2, 5)]


def test_copies_depend_on_nothing_but_seed_image_and_number() -> None:
    np.random.seed(1)
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    once = [_bytes_of(job) for job in JOBS]
    np.random.seed(2)
    assert [_bytes_of(job) for job in reversed(JOBS)] == once[::-1]
    np.random.seed(1)
    _bytes_of(JOBS[0])
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index,union-attr]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_bytes_of, JOBS * 3)) == once * 3
    assert list(in_order(_bytes_of, JOBS, 2)) == once


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1, "image": "a", "number": 1},
        {"seed": 0, "image": "b", "number": 1},
        {"seed": 0, "image": "a", "number": 2},
    ],
)
def test_another_seed_image_or_number_is_another_copy(other: dict) -> None:
    here = augmented_copy(find_policy("table5"), COLOURED, seed=0, image="a", number=1)
    assert (augmented_copy(find_policy("table5"), COLOURED, **other) != here).any()


def test_patches_of_one_image_get_the_same_draw() -> None:
    jitter = find_policy("he-jitter")
    image = stain(draw_amounts(0), PINK)
    half = image.shape[1] // 2
    whole = augmented_copy(jitter, image, seed=0, image="slide.png", number=4)
    left, right = (
        augmented_copy(jitter, part, seed=0, image="slide.png", number=4)
        for part in (image[:, :half], image[:, half:])
    )
    assert (np.concatenate([left, right], axis=1) == whole).all()


def test_the_mask_moves_with_the_image() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:30, 15:45] = 255
    image = mask[..., None].repeat(3, 2)
    moving = policy(
        {"augmenter": "InnerRotate", "rotate": [-15, 15]},
        {"augmenter": "Zoom", "factor": [1.0, 1.2]},
        {"augmenter": "Rot90", "k": [0, 3]},
        {"augmenter": "Fliplr", "probability": 0.5},
        {"augmenter": "Affine", "rotate": [-10, 10]},
        {"augmenter": "GaussianBlur", "sigma": 0.5},
    )
    for number in range(20):
        moved, outline = augmented_copy_with_mask(moving, image, mask, seed=0, image="a", number=number)
        assert outline is not None
        assert set(np.unique(outline)) <= {0, 255}
        assert ((moved[..., 0] > 127) != (outline > 127)).mean() < 0.03
        assert (moved == augmented_copy(moving, image, seed=0, image="a", number=number)).all()


def test_an_operation_that_changes_the_size_after_all() -> None:
    to_the_size_it_is_tried_on = policy({"augmenter": "CropToFixedSize", "width": 64, "height": 48})
    big = np.zeros((80, 90, 3), np.uint8)
    with pytest.raises(BccliError, match="64×48 of an image of 90×80"):
        augmented_copy(to_the_size_it_is_tried_on, big, seed=0, image="a", number=1)


def test_an_image_that_imgaug_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("Expected more.\nGot less.")

    blurred = policy({"augmenter": "GaussianBlur", "sigma": 1.0})
    monkeypatch.setattr(library, "apply", fail)
    with pytest.raises(BccliError, match=r"GaussianBlur fails on an image of 40×40 \(Expected more\)"):
        augmented_copy(blurred, COLOURED, seed=0, image="a", number=1)


def test_groups() -> None:
    blur, flip = {"augmenter": "Flipud"}, {"augmenter": "Fliplr"}
    darker = {"augmenter": "Multiply", "mul": 0.5}
    for group, sizes in (
        ({"augmenter": "OneOf"}, {1}),
        ({"augmenter": "SomeOf", "n": [1, 3]}, {1, 2, 3}),
        ({"augmenter": "Sequential"}, {3}),
    ):
        grouped = policy(group | {"children": [blur, flip, darker]})
        fell = [draw(grouped, seed=0, image="a", number=number) for number in range(100)]
        assert {len(one) for one in fell} == sizes
        orders = [[one.operation.augmenter for one in draws] for draws in fell]
        assert all(order == sorted(order, key=("Flipud", "Fliplr", "Multiply").index) for order in orders)


def test_importing_the_module_imports_neither_opencv_nor_imgaug() -> None:
    code = (
        "import sys, bccli.core.augmentation as a; a.find_policy('table5'); "
        "print([name for name in ('cv2', 'imgaug', 'tensorflow', 'click', 'skimage') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_operations_are_data() -> None:
    operation = find_policy("flips").operations[0]
    assert operation == Operation("Fliplr", 0.5, {}, (), own=True)
