"""The audit against planted leaks, against brute force, and on real images where they are at hand."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core.data.leakage import (
    NEAR_DUPLICATE_BITS,
    OTHER_SIDE,
    ImageFacts,
    Leak,
    Leaks,
    audit_folds,
    audit_splits,
    find_leak,
    leak_sentences,
)
from bccli.core.imaging.hashes import hash_and_blankness, is_blank, perceptual_hash, pixel_hash
from bccli.core.reading.json_types import misfit

REAL = Path(os.environ.get("BCCLI_REAL_DATA") or Path(__file__).parents[4] / "shared/data")
INSIDE, OUTSIDE = [0, 1, 2, 3], [4, 5, 6, 7]


def eight_images():
    """Eight images of eight patients that have nothing in common; hashes differ in 32 bits."""
    hashes = [0x0000FFFF0000FFFF, 0xFFFF0000FFFF0000, 0x00FF00FF00FF00FF, 0xFF00FF00FF00FF00]
    hashes += [0x0F0F0F0F0F0F0F0F, 0xF0F0F0F0F0F0F0F0, 0x3333333333333333, 0xCCCCCCCCCCCCCCCC]
    return ImageFacts(
        patients=np.arange(8, dtype=np.int32),
        pixels=np.arange(100, 108, dtype=np.uint64),
        perceptual=np.array(hashes, dtype=np.uint64),
        blank=np.zeros(8, dtype=bool),
        parents=np.full(8, -1, dtype=np.int32),
    )


def planted(**cells):
    """The eight images with some cells changed: planted(patients={4: 0})."""
    columns = {}
    for name, changes in cells.items():
        columns[name] = getattr(eight_images(), name).copy()
        for row, value in changes.items():
            columns[name][row] = value
    return replace(eight_images(), **columns)


def leak_of(facts):
    inside = np.isin(np.arange(8), INSIDE)
    return find_leak(facts, inside, ~inside)


def flipped(value, bits):
    """The hash with its lowest `bits` bits changed."""
    return int(value) ^ (2**bits - 1)


def test_images_with_nothing_in_common_do_not_leak():
    assert leak_of(eight_images()) == Leak(0, 0, 0, 0, ())
    assert not leak_of(eight_images()).blocking


def test_a_shared_patient_counts_once():
    leak = leak_of(planted(patients={1: 0, 4: 0, 5: 0}))
    assert leak.to_json() == {"patients": 1, "identical": 0, "near_duplicates": 0, "children": 0}
    assert leak.examples == ((0, 4), (1, 4))
    assert leak.blocking


def test_unknown_patients_are_not_the_same_patient():
    assert leak_of(planted(patients=dict.fromkeys(range(8), -1))) == Leak(0, 0, 0, 0, ())


def test_identical_pixels_are_not_near_duplicates_too():
    same = int(eight_images().perceptual[6])
    leak = leak_of(planted(pixels={2: 106}, perceptual={2: same}))
    assert leak == Leak(0, 1, 0, 0, ((2, 6),))
    assert leak.blocking


def test_hashes_near_each_other_are_near_duplicates_up_to_the_limit():
    hashes = eight_images().perceptual
    near = leak_of(planted(perceptual={3: flipped(hashes[7], NEAR_DUPLICATE_BITS)}))
    assert near == Leak(0, 0, 1, 0, ((3, 7),))
    assert not near.blocking
    assert leak_of(planted(perceptual={3: flipped(hashes[7], NEAR_DUPLICATE_BITS + 1)})) == Leak(
        0, 0, 0, 0, ()
    )


@pytest.mark.parametrize("blank", [[2, 6], [2], [6]])
def test_blank_images_are_neither_identical_nor_alike(blank):
    alike = int(eight_images().perceptual[6])
    blanks = dict.fromkeys(blank, True)
    assert leak_of(planted(perceptual={2: alike}, blank=blanks)) == Leak(0, 0, 0, 0, ())
    assert leak_of(planted(pixels={2: 106}, perceptual={2: alike}, blank=blanks)) == Leak(0, 0, 0, 0, ())


def test_blank_images_still_share_patients_and_parents():
    facts = planted(patients={4: 0}, parents={1: 5}, blank=dict.fromkeys(range(8), True))
    assert leak_of(facts) == Leak(1, 0, 0, 1, ((1, 5), (0, 4)))


@pytest.mark.parametrize(
    ("parents", "children", "examples"),
    [
        pytest.param({0: 4}, 1, ((0, 4),), id="parent outside"),
        pytest.param({4: 0, 5: 0}, 1, ((0, 4),), id="children outside"),
        pytest.param({0: 1, 2: 1, 4: 1}, 3, ((0, 4), (1, 4), (2, 4)), id="parent and siblings apart"),
        pytest.param({0: 1, 1: 4}, 2, ((0, 4), (1, 4)), id="child of a child"),
        pytest.param({0: 1, 4: 5}, 0, (), id="families together"),
    ],
)
def test_children_apart_from_their_family_are_found(parents, children, examples):
    leak = leak_of(planted(parents=parents))
    assert (leak.relatives, leak.examples) == (children, examples)
    assert leak.blocking == bool(children)


def test_parents_in_a_circle_end():
    assert leak_of(planted(parents={0: 1, 1: 2, 2: 0})).relatives == 0


def test_without_perceptual_hashes_near_duplicates_are_unknown():
    leak = leak_of(replace(eight_images(), perceptual=None))
    assert leak.near_duplicates is None
    assert not leak.blocking


def test_examples_are_five_and_serious_ones_come_first():
    hashes = eight_images().perceptual
    facts = planted(
        perceptual={0: flipped(hashes[4], 2)}, pixels={1: 105}, parents={2: 6}, patients={3: 7, 2: 4, 1: 4}
    )
    assert leak_of(facts).examples == ((1, 5), (2, 6), (1, 4), (2, 4), (3, 7))


def test_nothing_outside_is_no_leak():
    nothing = np.zeros(8, dtype=bool)
    assert find_leak(eight_images(), ~nothing, nothing) == Leak(0, 0, 0, 0, ())
    assert find_leak(eight_images(), nothing, ~nothing) == Leak(0, 0, 0, 0, ())


def test_splits_are_audited_test_against_both_and_val_against_train():
    splits = np.array([0, 0, 0, 1, 1, 2, 2, -1])
    leaks = audit_splits(planted(patients={3: 0, 5: 4, 7: 6}, parents={6: 1}), splits)
    assert leaks["test"].to_json() == {"patients": 1, "identical": 0, "near_duplicates": 0, "children": 1}
    assert leaks["val"].to_json() == {"patients": 1, "identical": 0, "near_duplicates": 0, "children": 0}
    assert leaks["test"].examples == ((6, 1), (5, 4))


def test_folds_count_each_image_and_patient_once():
    folds = np.array([0, 0, 1, 1, 2, 2, 2, -1])
    leak = audit_folds(planted(patients={2: 0, 4: 0, 7: 1}, pixels={0: 104, 3: 104}), folds)
    assert leak.to_json() == {"patients": 1, "identical": 3, "near_duplicates": 0, "children": 0}


ONE = {"patients": 1, "identical": 1, "near_duplicates": 1, "children": 1}
NONE = {"patients": 0, "identical": 0, "near_duplicates": None, "children": 0}


@pytest.mark.parametrize(
    ("leaks", "sentences"),
    [
        ({"test": NONE, "val": NONE, "folds": NONE, "data": NONE}, []),
        (
            {"test": ONE},
            [
                "test shares 1 patient, 1 image with identical pixels, 1 near-duplicate, "
                "1 augmented relative with train or val"
            ],
        ),
        (
            {"val": dict.fromkeys(ONE, 2)},
            [
                "val shares 2 patients, 2 images with identical pixels, 2 near-duplicates, "
                "2 augmented relatives with train"
            ],
        ),
        (
            {"folds": {**NONE, "children": 3}, "data": {**NONE, "patients": 1}},
            [
                "folds share 3 augmented relatives with another fold",
                "data shares 1 patient with what the run was trained on",
            ],
        ),
    ],
)
def test_an_audit_is_a_sentence_for_each_split_with_a_leak(leaks, sentences):
    assert leak_sentences(leaks) == sentences


def test_hashes_differ_in_bits_and_look_alike_up_to_four():
    facts = planted(perceptual={0: 0b1011, 1: 0b0110})
    assert facts.distance(0, 1) == 3
    assert facts.distance(1, 1) == 0
    assert replace(facts, perceptual=None).distance(0, 1) == 0
    assert NEAR_DUPLICATE_BITS == 4


def test_all_pairs_are_there_beside_the_examples():
    hashes = eight_images().perceptual
    leak = leak_of(planted(pixels={0: 104, 1: 104}, perceptual={2: flipped(hashes[6], 1), 3: hashes[6]}))
    assert leak.equal == ((0, 4), (1, 4))
    assert leak.pairs == ((2, 6), (3, 6))
    assert leak.examples == (*leak.equal, *leak.pairs)
    assert leak_of(replace(eight_images(), perceptual=None)).pairs == ()
    assert "equal" not in repr(leak)
    assert "pairs" not in repr(leak)


def test_an_audit_in_json_is_of_known_splits_and_kinds():
    counts = leak_of(eight_images()).to_json()
    for split in OTHER_SIDE:
        assert not misfit({split: counts}, Leaks, "audit")
        assert not misfit({split: {**counts, "near_duplicates": None}}, Leaks, "audit")
    assert misfit({"train": counts}, Leaks, "audit")
    assert misfit({"test": {**counts, "relatives": 1}}, Leaks, "audit")
    assert misfit({"test": {**counts, "patients": -1}}, Leaks, "audit")


def random_traits(rng, n):
    """Images with leaks of every kind, some of them at once."""
    hashes = rng.integers(0, 2**64, 12, dtype=np.uint64)[rng.integers(0, 12, n)]
    for _ in range(3):
        hashes ^= np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64)
    parents = np.where(rng.random(n) < 0.3, rng.integers(0, n // 2, n), -1)
    parents[: n // 2] = -1
    return ImageFacts(
        rng.integers(-1, 40, n).astype(np.int32),
        rng.integers(0, 3 * n, n, dtype=np.uint64),
        hashes,
        rng.random(n) < 0.2,
        parents.astype(np.int32),
    )


def brute_force(facts, inside, outside):
    """The four counts by comparing every pair, as the contract words them."""
    patients, identical, near, children = set(), set(), set(), set()
    family = [row if parent < 0 else parent for row, parent in enumerate(facts.parents.tolist())]
    for row in np.flatnonzero(inside).tolist():
        for other in np.flatnonzero(outside).tolist():
            if facts.patients[row] >= 0 and facts.patients[row] == facts.patients[other]:
                patients.add(int(facts.patients[row]))
            if family[row] == family[other]:
                children.add(row)
            if facts.blank[row] or facts.blank[other]:
                continue
            if facts.pixels[row] == facts.pixels[other]:
                identical.add(row)
            if (int(facts.perceptual[row]) ^ int(facts.perceptual[other])).bit_count() <= NEAR_DUPLICATE_BITS:
                near.add(row)
    return len(patients), len(identical), len(near - identical), len(children)


@pytest.mark.parametrize("seed", range(5))
def test_counts_equal_those_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    facts = random_traits(rng, 200)
    splits = rng.choice(3, 200, p=[0.7, 0.2, 0.1])
    leaks = audit_splits(facts, splits)
    assert tuple(leaks["test"].to_json().values()) == brute_force(facts, splits == 2, splits < 2)
    assert tuple(leaks["val"].to_json().values()) == brute_force(facts, splits == 1, splits == 0)
    assert all(leaks["val"].to_json().values()), "each kind must occur, or this compares zeros"


def test_folds_equal_brute_force():
    rng = np.random.default_rng(9)
    facts, folds = random_traits(rng, 120), rng.integers(0, 4, 120)
    counts = [brute_force(facts, folds == fold, folds != fold) for fold in range(4)]
    found = tuple(audit_folds(facts, folds).to_json().values())
    assert found[1:] == tuple(np.sum(counts, axis=0)[1:])
    owners = {}
    for patient, fold in zip(facts.patients.tolist(), folds.tolist(), strict=True):
        owners.setdefault(patient, set()).add(fold)
    assert found[0] == sum(len(where) > 1 for patient, where in owners.items() if patient >= 0)


def test_pixel_hash_covers_shape_and_bytes():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    written = bytes([2, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0]) + bytes(range(24))
    assert pixel_hash(image) == hashlib.sha256(written).hexdigest()
    assert pixel_hash(image) == pixel_hash(np.repeat(image, 2, axis=1)[:, ::2])
    assert len({pixel_hash(image), pixel_hash(image.reshape(4, 2, 3)), pixel_hash(image + 1)}) == 3
    assert pixel_hash(image[:, :, 0]) == pixel_hash(image[:, :, :1])


def texture(seed, side=200):
    """Smooth random blobs, uint8 RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))


def recompressed(image, quality=75):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(image, factor):
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def distance(one, other):
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


@pytest.mark.parametrize("change", [recompressed, lambda i: resized(i, 0.5), lambda i: resized(i, 1.7)])
def test_copies_look_alike_and_other_pictures_do_not(change):
    for seed in range(10):
        assert distance(texture(seed), change(texture(seed))) <= NEAR_DUPLICATE_BITS
        assert distance(texture(seed), texture(seed + 100)) > NEAR_DUPLICATE_BITS


def test_a_perceptual_hash_is_64_bits_of_which_half_are_set():
    value = perceptual_hash(texture(0))
    assert 0 <= value < 2**64
    assert value.bit_count() == 32


def test_grey_and_colour_images_have_the_same_perceptual_hash():
    grey = texture(0)[:, :, 0]
    assert perceptual_hash(grey) == perceptual_hash(grey[:, :, None])
    assert perceptual_hash(grey) == perceptual_hash(np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("image", [texture(0), texture(0)[..., 0], texture(0)[..., :1], texture(0)[:1] // 99])
def test_hash_and_blankness_are_those_of_the_colours(image):
    assert hash_and_blankness(image) == (perceptual_hash(image), is_blank(image))


def test_empty_slides_are_blank_and_a_small_bright_breast_is_not():
    rng = np.random.default_rng(0)
    slide = np.clip(rng.normal(240, 2, (50, 50, 3)), 0, 255).astype(np.uint8)
    mammogram = np.zeros((300, 200, 1), dtype=np.uint8)
    assert is_blank(slide)
    assert is_blank(recompressed(slide))
    assert is_blank(mammogram)
    mammogram[120:180, :20] = 180
    assert not is_blank(mammogram)


def real_images(pattern):
    """Images under the real data and their patients, who are their folders' names."""
    paths = [path for path in sorted(REAL.glob(pattern)) if "Mask" not in path.name]
    if not paths:
        pytest.skip(f"no {pattern} in {REAL}")
    return paths, [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def facts_of(patients, images):
    n = len(images)
    return ImageFacts(
        np.unique(patients, return_inverse=True)[1].astype(np.int32),
        np.array([int(pixel_hash(image)[:16], 16) for image in images], dtype=np.uint64),
        np.array([perceptual_hash(image) for image in images], dtype=np.uint64),
        np.array([is_blank(image) for image in images], dtype=bool),
        np.full(n, -1, dtype=np.int32),
    )


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        pytest.param("idc50/*/*/*.png", lambda path: path.parts[-3], id="idc"),
        pytest.param("breakhis/**/*.png", lambda path: path.name.split("-")[2], id="breakhis"),
        pytest.param("mini-ddsm/*/*/*.jpg", lambda path: path.parts[-3] + path.parts[-2], id="mini-ddsm"),
    ],
)
def test_real_patients_do_not_look_alike_and_their_copies_do(pattern, patient):
    paths, images = real_images(pattern)
    facts = facts_of([patient(path) for path in paths], images)
    assert not facts.blank.any()
    leak = audit_folds(facts, facts.patients)
    assert leak.to_json() == {"patients": 0, "identical": 0, "near_duplicates": 0, "children": 0}

    some = images[:: max(1, len(images) // 20)]
    for change in (recompressed, lambda image: resized(image, 0.75)):
        distances = [distance(image, change(image)) for image in some]
        assert np.mean(np.array(distances) <= NEAR_DUPLICATE_BITS) >= 0.95
