"""The pictures of a report: small ones, as long as there is room, and none of what cannot be read."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core.data.manifest import Sample
from bccli.core.evaluation.report.album import SIDE, Album
from tests.conftest import save


@pytest.mark.parametrize("shape", [(24, 24, 3), (600, 300, 3), (50, 900, 3)])
def test_a_picture_is_the_image_made_small(shape: tuple[int, int, int]) -> None:
    pixels = np.zeros(shape, np.uint8)
    pixels[: shape[0] // 2] = 200
    picture = Album().picture(pixels)
    assert picture is not None
    image = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    assert image.size == (picture.width, picture.height)
    assert max(image.size) == min(SIDE, max(shape))
    assert image.width / image.height == pytest.approx(shape[1] / shape[0], rel=0.1)
    top, bottom = (np.asarray(image)[row].mean() for row in (1, -2))
    assert top - bottom > 150


def test_an_album_ends_where_its_room_does() -> None:
    source = np.random.default_rng(0)
    album = Album(200_000)
    pictures = [album.picture(source.integers(0, 255, (400, 400, 3)).astype(np.uint8)) for _ in range(20)]
    shown = [picture for picture in pictures if picture]
    assert 1 <= len(shown) == album.shown < 20
    assert sum(len(picture.uri) for picture in shown) <= 200_000
    assert album.refused == 20 - album.shown


def test_what_cannot_be_read_is_noted(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    album = Album()
    assert album.pixels(tmp_path, Sample(path="a.png")) is not None
    assert album.pixels(tmp_path, Sample(path="b.png")) is None
    assert album.pixels(tmp_path, Sample(path="c.png")) is None
    assert album.unreadable == ["b.png", "c.png"]
    assert Album(0).pixels(tmp_path, Sample(path="a.png")) is None
