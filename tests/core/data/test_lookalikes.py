"""Who may not be separated: identical and alike pictures, patients known and unknown."""

import io

import numpy as np
import pytest
from PIL import Image

from bccli.core.data.lookalikes import ImageHashes, find_lookalikes, join_groups
from bccli.core.datasets.phantom import draw_sample, read_phantom
from bccli.core.imaging.hashes import is_blank, pixel_hash
from bccli.core.imaging.likeness import probe_hashes, small_grey


def hashes_of(images):
    greys = [small_grey(image) for image in images]
    return ImageHashes(
        np.array([int(pixel_hash(image)[:16], 16) for image in images], np.uint64),
        np.array([not is_blank(image) for image in images]),
        np.stack([probe_hashes(grey) for grey in greys]),
        greys.__getitem__,
    )


def shifted(image, share):
    height, width = image.shape[:2]
    right, down = round(width * share), round(height * share)
    padded = np.pad(image, ((down, down), (right, right), (0, 0)), mode="edge")
    return padded[2 * down : 2 * down + height, :width]


def cropped(image, share):
    height, width = image.shape[:2]
    return image[round(height * share) :, : width - round(width * share)]


def saved_again(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=50)
    return np.array(Image.open(stream))


def resized(image, share):
    height, width = image.shape[:2]
    return np.array(Image.fromarray(image).resize((round(width * share), round(height * share))))


CHANGES = {
    "shifted": lambda image: shifted(image, 0.03),
    "shifted a little": lambda image: shifted(image, 0.016),
    "cropped": lambda image: cropped(image, 0.05),
    "saved as JPEG": saved_again,
    "smaller": lambda image: resized(image, 0.6),
    "larger": lambda image: resized(image, 1.4),
    "brighter": lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
    "all": lambda image: saved_again(resized(cropped(image, 0.04), 0.8)),
}


def phantoms(kind, count, seed=11):
    return [
        draw_sample(s.source, seed=seed)[0] for s in read_phantom(kind, count=count, patients=count, seed=1)
    ]


@pytest.mark.parametrize("kind", ["histology", "mammography"])
def test_a_copy_is_found_whatever_was_done_to_it_and_nothing_else_is(kind):
    images = phantoms(kind, 24)
    copies = [change(images[place]) for place, change in enumerate(CHANGES.values())]
    found = find_lookalikes(hashes_of(images + copies), np.full(24 + len(copies), -1))
    assert found.of.tolist() == [*range(24), *range(len(copies))]
    assert (found.similarity[24:] >= 0.95).all()
    assert (found.distance <= 4).all()


def test_identical_pixels_join_known_patients_and_likeness_does_not():
    one, other, third = phantoms("histology", 3)
    images = [one, one, other, shifted(other, 0.02), third, shifted(third, 0.02)]
    patients = np.array([0, 1, 2, 3, 4, -1])
    found = find_lookalikes(hashes_of(images), patients)
    groups = join_groups(np.array([0, 1, 2, 3, 4, 5]), found)
    assert groups.tolist() == [0, 0, 2, 3, 4, 4]
    assert [found.kind(row) for row in found.copies.tolist()] == ["identical", "alike"]


def test_an_unknown_image_does_not_join_two_patients_that_both_look_like_it():
    image = phantoms("histology", 2)[0]
    images = [shifted(image, 0.02), image, cropped(image, 0.03)]
    found = find_lookalikes(hashes_of(images), np.array([0, -1, 1]))
    groups = join_groups(np.array([0, 2, 1]), found)
    assert groups[1] == groups[0] != groups[2]


def test_blank_images_join_nobody():
    blank = np.full((40, 40, 3), 240, np.uint8)
    found = find_lookalikes(hashes_of([blank, blank, blank]), np.full(3, -1))
    assert not len(found.copies)


def test_likeness_does_not_chain():
    image = phantoms("mammography", 2)[0]
    moved = [shifted(image, share) for share in (0, 0.03, 0.06, 0.09)]
    found = find_lookalikes(hashes_of(moved), np.full(4, -1))
    assert all(found.of[leader] == leader for leader in set(found.of.tolist()))
    assert len(set(found.of.tolist())) > 1


def test_without_likeness_only_identical_images_join():
    image = phantoms("histology", 2)[0]
    images = [image, shifted(image, 0.02), image]
    assert find_lookalikes(hashes_of(images), np.full(3, -1), similar=False).of.tolist() == [0, 1, 0]


def test_all_images_of_a_picture_with_two_labels_contradict():
    one, other = phantoms("histology", 2)
    found = find_lookalikes(hashes_of([one, other, one, one]), np.full(4, -1))
    assert found.contradictions(np.array([0, 0, 0, 1])).tolist() == [True, False, True, True]
    assert not found.contradictions(np.array([0, 1, 0, 0])).any()
