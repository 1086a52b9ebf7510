"""Packs give the pixels of the images that they are asked for, or say that they do not have them."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging import packs
from bccli.core.imaging.hashes import pixel_hash
from bccli.core.imaging.packs import Pack, PackedImages, PackError, hashes_path, open_pack, pack_path

SIZE = 6, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (20, SIZE[1], SIZE[0], 3), np.uint8)
HASHES = [pixel_hash(image) for image in IMAGES]


def write(folder: Path, images: np.ndarray = IMAGES, hashes: list[str] = HASHES) -> Path:
    """A pack of images; returns the file of the array."""
    path = pack_path(folder, SIZE)
    np.save(path, images)
    hashes_path(path).write_text("".join(f"{text}\n" for text in hashes))
    return path


def opened(folder: Path) -> Pack:
    """The pack in a folder, which has to be of use."""
    pack = open_pack(folder, SIZE)
    assert pack is not None
    return pack


def read(images: PackedImages, positions: list[int]) -> tuple[np.ndarray, list[int]]:
    """The images at these positions, black where they are not in the pack, and which of them are not."""
    pixels = np.zeros((len(positions), *IMAGES.shape[1:]), np.uint8)
    lacking = images.fill(np.array(positions, np.int64), pixels)
    pixels[lacking] = 0
    return pixels, lacking


@given(positions=st.lists(st.integers(0, 19)), share=st.integers(1, 50))
def test_images_come_in_whatever_order_they_are_wanted(
    tmp_path_factory: pytest.TempPathFactory, positions: list[int], share: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "packed"
    if not folder.exists():
        folder.mkdir()
        write(folder)
    images = PackedImages(opened(folder), HASHES, pytest.fail)
    for _ in range(2):  # compared with the hashes, and then not
        pixels, lacking = read(images, positions)
        assert lacking == []
        np.testing.assert_array_equal(pixels, IMAGES[positions])


def test_threads_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(packs, "_SHARE", 1)
    monkeypatch.setattr(packs, "available_cores", lambda: 3)
    write(tmp_path)
    known = [*HASHES[:7], "0" * 64, *HASHES[8:]]
    images = PackedImages(opened(tmp_path), known, pytest.fail)
    positions = np.array([7, 3, 4, 5, 19, 7, 0])
    pixels = np.zeros((7, *IMAGES.shape[1:]), np.uint8)
    with ThreadPoolExecutor(3) as pool:
        assert images.fill(positions, pixels, pool) == [0, 5]
    np.testing.assert_array_equal(pixels[[1, 2, 3, 4, 6]], IMAGES[[3, 4, 5, 19, 0]])


def test_images_are_found_by_their_hashes_wherever_their_rows_are(tmp_path: Path) -> None:
    order = list(range(20))
    random.Random(0).shuffle(order)
    write(tmp_path, IMAGES[order], [HASHES[number] for number in order])
    images = PackedImages(opened(tmp_path), [*HASHES[5:], pixel_hash(IMAGES[0] + 1)], pytest.fail)
    assert images.lacking == 1
    pixels, lacking = read(images, [15, 0, 14])
    assert lacking == [0]
    np.testing.assert_array_equal(pixels[1:], IMAGES[[5, 19]])


@pytest.mark.parametrize("cast", [lambda array: array[:0], lambda array: np.concatenate([array, array])])
def test_a_pack_may_be_empty_or_have_an_image_twice(
    tmp_path: Path, cast: Callable[[np.ndarray], np.ndarray]
) -> None:
    images = cast(IMAGES)
    write(tmp_path, images, [pixel_hash(image) for image in images])
    packed = PackedImages(opened(tmp_path), HASHES, pytest.fail)
    assert packed.lacking == (0 if len(images) else 20)
    assert read(packed, [19])[1] == ([] if len(images) else [0])


def test_another_pixel_is_seen_and_said_and_no_other_image_suffers(tmp_path: Path) -> None:
    path, said = write(tmp_path), []
    data = bytearray(path.read_bytes())
    data[128 + 3 * IMAGES[0].nbytes + 5] ^= 1
    path.write_bytes(data)
    images = PackedImages(opened(tmp_path), HASHES, said.append)
    for _ in range(2):
        pixels, lacking = read(images, [2, 3, 4])
        assert lacking == [1]
        np.testing.assert_array_equal(pixels[[0, 2]], IMAGES[[2, 4]])
    assert said == ["has other pixels in row 3 than the manifest says"]


def test_the_hashes_of_other_images_do_no_harm(tmp_path: Path) -> None:
    """As where the list of one pack lies beside the array of another."""
    write(tmp_path, IMAGES[::-1])
    said: list[str] = []
    images = PackedImages(opened(tmp_path), HASHES, said.append)
    assert read(images, list(range(20)))[1] == list(range(20))
    assert len(said) == 20


def test_no_pack(tmp_path: Path) -> None:
    assert open_pack(tmp_path / "pixels", SIZE) is None
    write(tmp_path)
    assert open_pack(tmp_path, (SIZE[1], SIZE[0])) is None


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthened(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lost(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def turned_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ARRAY_FAULTS = (shortened, lengthened, piped, emptied, in_a_circle, turned_into_a_folder)


@pytest.mark.parametrize("fault", ARRAY_FAULTS)
def test_what_is_no_whole_array_is_refused_in_words(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    fault(write(tmp_path))
    with pytest.raises(PackError, match=r"^(is damaged|cannot be read) \("):
        open_pack(tmp_path, SIZE)


@pytest.mark.parametrize("fault", [*ARRAY_FAULTS, lost])
def test_what_is_no_whole_list_of_hashes_is_refused_in_words(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(hashes_path(write(tmp_path)))
    with pytest.raises(PackError, match=r"^(has other images|cannot be read)"):
        open_pack(tmp_path, SIZE)


@pytest.mark.parametrize(
    "array",
    [
        IMAGES[0],
        IMAGES.transpose(0, 2, 1, 3),
        IMAGES.astype(np.int8),
        IMAGES.astype(np.uint16),
        np.asfortranarray(IMAGES),
        IMAGES[..., :1],
        np.array([None] * 20),
        np.zeros(20, [("pixels", np.uint8, IMAGES[0].shape)]),
    ],
)
def test_other_arrays_are_refused_and_nothing_is_unpickled(tmp_path: Path, array: np.ndarray) -> None:
    write(tmp_path, array)
    with pytest.raises(PackError, match=r"^(holds something else|is damaged)"):
        open_pack(tmp_path, SIZE)


@pytest.mark.parametrize("count", [-1, 2**24 + 1, 2**70, 21])
def test_an_array_that_claims_another_number_of_images_is_refused(tmp_path: Path, count: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIZE[1], SIZE[0], 3)}
    with write(tmp_path).open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(IMAGES.data)
    with pytest.raises(PackError, match=r"^(is damaged|has more than)"):
        open_pack(tmp_path, SIZE)


def test_images_larger_than_any_that_is_read_are_refused(tmp_path: Path) -> None:
    """As a file with holes may claim to hold."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (1, 10_001, 10_000, 3)}
    with pack_path(tmp_path, (10_000, 10_001)).open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + 10_000 * 10_001 * 3)
    (tmp_path / "10000x10001.sha256").write_text("0" * 64 + "\n")
    with pytest.raises(PackError, match="larger images"):
        open_pack(tmp_path, (10_000, 10_001))


def test_what_is_cut_while_it_is_open_is_said(tmp_path: Path) -> None:
    path, said = write(tmp_path), []
    images = PackedImages(opened(tmp_path), HASHES, said.append)
    os.truncate(path, path.stat().st_size // 2)
    assert read(images, [19])[1] == [0]
    assert read(images, [0])[1] == []
    assert said == ["cannot be read (has been cut short)"]


def test_a_pack_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    write(tmp_path)
    first = opened(tmp_path)
    assert opened(tmp_path) is first
    pack_path(tmp_path, SIZE).unlink()
    write(tmp_path, IMAGES[:3], HASHES[:3])
    assert PackedImages(opened(tmp_path), HASHES, pytest.fail).lacking == 17
    np.testing.assert_array_equal(read(PackedImages(first, HASHES, pytest.fail), [19])[0][0], IMAGES[19])


def test_few_packs_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "_MOST_OPEN", 8)
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder)
        assert read(PackedImages(opened(folder), HASHES, pytest.fail), [number % 20])[1] == []
    links = (os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path))
    assert sum(str(tmp_path) in link for link in links) <= 8
