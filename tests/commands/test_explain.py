"""`bccli predict --explain`: every kind of run shows where it looks."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import browser
from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save
from tests.library import Library, bccli_in
from tests.sentences import refused

pytestmark = pytest.mark.exports
FROZEN = "--weights", "none", "--trainable", "none", "--epochs", 2, "--batch-size", 8
SIZES = (40, 36), (64, 64), (36, 80)


def fill(root: Path) -> None:
    for patient in range(8):
        for number in range(2):
            label, name = ("benign", "malignant")[patient % 2], f"p{patient}_{number}.png"
            pixels = draw(patient % 2, patient * 10 + number, (64, 64))
            save(root / "raw" / label / name, pixels)
            if not number:
                mask = np.zeros((64, 64), np.uint8)
                mask[:32] = 255
                save(root / "masks" / name, mask)
    for number, size in enumerate(SIZES):
        save(root / "new" / f"n{number}.png", draw(number % 2, 100 + number, size))
    data, patches = root / "data", root / "patches_data"
    folder = "prepare", "folder", root / "raw"
    for command in (
        (*folder, data, *PATIENT, "--ratios", "2/1/1", "--size", "32x32", "--fit", "pad"),
        (*folder, patches, *PATIENT, "--ratios", "2/1/1", "--patch", 32),
        ("train", data, root / "network", *FROZEN),
        ("train", data, root / "hidden", "--dense", 8, *FROZEN),
        ("train", data, root / "classifier", "--classifier", "svm", "--weights", "none"),
        ("train", data, root / "words", "--classifier", "bovw"),
        ("hierarchy", data, root / "tree", "--tree", "benign, malignant", *FROZEN),
        ("train", patches, root / "patches", *FROZEN),
        ("train", patches, root / "attention", "--head", "attention", "--features-from", root / "patches",
         "--epochs", 2),
        ("train", patches, root / "bilstm", "--head", "bilstm", "--features-from", root / "patches",
         "--epochs", 2),
        (*folder, root / "folds_data", *PATIENT, "--folds", 3, "--size", "32x32"),
        ("train", root / "folds_data", root / "folds", "--fold", "all", *FROZEN),
    ):  # fmt: skip
        bccli_in(*command)


@pytest.fixture(scope="module")
def root(library: Library) -> Path:
    """Raw images, masks of half of them, and a run of each kind."""
    return library.folder("explain", fill)


KINDS = (
    "network", "hidden", "classifier", "words", "tree", "patches", "attention", "bilstm", "folds",
)  # fmt: skip


class Pictures(HTMLParser):
    """The pictures of a page, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.text = ""
        self.tags: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.found.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def explained(bccli: Bccli, run: Path, images: Path, out: Path, *options: Any) -> list[dict[str, str]]:
    """The rows of a command that ends well, and an overlay for each of them."""
    result = bccli("predict", run, images, "--explain", out, "--format", "csv", *options)
    rows = rows_of(result.stdout)
    page = Pictures(out / "index.html")
    assert [picture["src"] for picture in page.found] == [
        name for row in rows for name in [path.name for path in out.glob(f"{Path(row['path']).stem}-*.png")]
    ]
    assert "script" not in page.tags
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_shows_where_it_looks(bccli: Bccli, root: Path, tmp_path: Path, kind: str) -> None:
    rows = explained(bccli, root / kind, root / "new", tmp_path / "out")
    plain = rows_of(bccli("predict", root / kind, root / "new", "--format", "csv").stdout)
    assert list(rows[0]) == [*list(plain[0])[:-1], "peak_x", "peak_y", "error"]
    for row, without, (width, height) in zip(rows, plain, SIZES, strict=True):
        assert {name: row[name] for name in without} == without
        if row["peak_x"]:
            assert 0 <= int(row["peak_x"]) < width
            assert 0 <= int(row["peak_y"]) < height
        (overlay,) = (tmp_path / "out").glob(f"{Path(row['path']).stem}-*.png")
        with Image.open(overlay) as picture:
            assert picture.width * height == pytest.approx(picture.height * width, rel=0.02)
    assert any(row["peak_x"] for row in rows)


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["network", "hidden", "tree", "folds"])
def test_litert_and_tensorflow_find_the_same(bccli: Bccli, root: Path, tmp_path: Path, kind: str) -> None:
    run = Path(shutil.copytree(root / kind, tmp_path / "run"))
    found = explained(bccli, run, root / "new", tmp_path / "lite")
    for info in run.rglob("run.json"):
        facts = json.loads(info.read_text())
        if "litert" in facts:
            facts["litert"] = {"error": "taken away"}
        info.write_text(json.dumps(facts))
    again = explained(bccli, run, root / "new", tmp_path / "keras")
    for one, other in zip(found, again, strict=True):
        assert (one["peak_x"], one["peak_y"]) == (other["peak_x"], other["peak_y"])
    for path in (tmp_path / "lite").glob("*.png"):
        with Image.open(path) as one, Image.open(tmp_path / "keras" / path.name) as other:
            assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 2


def test_masks_make_it_a_game(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = bccli(
        "predict", root / "network", root / "raw", "--explain", out, "--mask-dir", root / "masks",
        "--format", "csv",
    )  # fmt: skip
    rows = rows_of(result.stdout)
    for row in rows:
        marked = row["path"].endswith("_0.png")
        expected = str(int(row["peak_y"]) < 32) if marked and row["peak_y"] else "False" if marked else ""
        assert row["inside_mask"] == expected
    hits = sum(row["inside_mask"] == "True" for row in rows)
    assert f"inside the mask in {hits} of 8 images with a mask" in result.stderr
    assert "a guess anywhere would hit 0.50, and the middle of the image hits 0.00" in result.stderr
    assert f"inside the mask in {hits} of 8 images" in Pictures(out / "index.html").text


def test_flips_are_averaged(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    image = tmp_path / "even.png"
    pixels = draw(1, 5, (64, 64)).astype(int)
    sides = [np.rot90(pixels, quarters) for quarters in range(4)]
    even = np.mean([*sides, *(side[:, ::-1] for side in sides)], axis=0).round().astype(np.uint8)
    save(image, even)
    explained(bccli, root / "network", image, tmp_path / "out", "--tta")
    (overlay,) = (tmp_path / "out").glob("even-*.png")
    with Image.open(overlay) as picture:
        found = np.asarray(picture, int)
    ring = 24  # whichever of the equal peaks it is drawn around
    different = (np.abs(found - found[:, ::-1]).max(axis=2) > 40).sum()
    assert different <= 4 * ring * ring


def test_an_ensemble_has_the_mean_of_all(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    rows = explained(
        bccli, root / "network", root / "new", tmp_path / "out", "--ensemble", root / "patches",
        "--ensemble", root / "classifier",
    )  # fmt: skip
    assert all(row["peak_x"] for row in rows)


def test_what_cannot_be_read_is_named_on_the_page(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    images = Path(shutil.copytree(root / "new", tmp_path / "images"))
    (images / "bad.png").write_text("no image")
    hostile = images / "<b onclick='x'>&amp;\u202e.png"
    save(hostile, draw(0, 1))
    out = tmp_path / "out"
    result = bccli("predict", root / "network", images, "--explain", out, "--format", "csv", exit=4)
    rows = {row["path"]: row for row in rows_of(result.stdout)}
    assert rows[str(images / "bad.png")]["peak_x"] == ""
    assert rows[str(hostile)]["peak_x"]
    page = Pictures(out / "index.html")
    assert "bad.png" in page.text
    assert "not an image" in page.text
    assert "<b onclick='x'>&amp;" in page.text
    assert "b" not in page.tags
    assert "\u202e" not in page.text


def test_with_top_rows_are_as_ever_and_overlays_are_there(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    rows = explained(bccli, root / "network", root / "new", tmp_path / "out", "--top", 2)
    assert list(rows[0]) == ["path", "predicted", "probability", "predicted_2", "probability_2", "error"]


def test_a_file_is_continued_and_shared(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    plain, shared = tmp_path / "plain", tmp_path / "shared"
    for folder, options in ((plain, ((),)), (shared, (("--shard", "1/2"), ("--shard", "2/2")))):
        folder.mkdir()
        for option in options:
            bccli(
                "predict", root / "network", root / "raw", "--output", folder / "p.csv",
                "--explain", folder / "out", *option,
            )  # fmt: skip
    assert (plain / "p.csv").read_bytes() == (shared / "p.csv").read_bytes()
    names = sorted(path.name for path in (plain / "out").iterdir())
    assert names == sorted(path.name for path in (shared / "out").iterdir())
    for name in names:
        assert (plain / "out" / name).read_bytes() == (shared / "out" / name).read_bytes()
    same = "predict", root / "network", root / "raw", "--output", plain / "p.csv", "--explain", plain / "out"
    assert "nothing to do" in bccli(*same).stderr
    shutil.rmtree(plain / "out")
    assert "its overlays are not in" in refused(bccli(*same, exit=3))
    bccli(*same, "--overwrite")
    assert sorted(path.name for path in (plain / "out").iterdir()) == names


def test_many_images_are_shown_on_several_pages(
    bccli: Bccli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bccli.terminal.explanation_pages.ON_A_PAGE", 6)
    out = tmp_path / "out"
    bccli("predict", root / "network", root / "raw", "--explain", out)
    pages = [Pictures(out / name) for name in ("index.html", "page-2.html", "page-3.html")]
    assert [len(page.found) for page in pages] == [6, 6, 4]
    assert "16 images have an overlay" in pages[0].text
    assert not (out / "page-4.html").exists()
    assert all('href="page-2.html"' in (out / name).read_text() for name in ("index.html", "page-3.html"))


def test_pages_of_an_earlier_start_that_had_more_images_are_gone(
    bccli: Bccli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bccli.terminal.explanation_pages.ON_A_PAGE", 6)
    out = tmp_path / "out"
    bccli("predict", root / "network", root / "raw", "--explain", out)
    (out / "page-9.html").write_text("mine")
    bccli("predict", root / "network", root / "new", "--explain", out)
    assert sorted(path.name for path in out.glob("*.html")) == ["index.html", "page-9.html"]
    assert len(Pictures(out / "index.html").found) == len(SIZES)


def test_overlays_that_are_gone_are_no_broken_pictures(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = "predict", root / "network", root / "new", "--output", tmp_path / "p.csv", "--explain", out
    words = *words, "--batch-size", 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bccli.terminal.explanation_pages.ExplanationPages.finish", interrupt)
        bccli(*words, exit=130)
    gone = next(out.glob("n0-*.png"))
    gone.unlink()
    bccli(*words)
    page = Pictures(out / "index.html")
    assert [picture["src"] for picture in page.found] == [
        next(out.glob(f"{name}-*.png")).name for name in ("n1", "n2")
    ]
    assert "its overlay is gone" in page.text
    assert "1 overlays of an earlier start are gone" in page.text
    assert "2 images have an overlay" in page.text


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["mine.txt", "index.html"])
def test_a_folder_of_something_else_is_left_alone(
    bccli: Bccli, root: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    sentence = refused(bccli("predict", root / "network", root / "new", "--explain", out, exit=3))
    assert f"is not empty ({name})" in sentence
    assert (out / name).read_text() == "mine"
    assert len(list(out.iterdir())) == 1


@pytest.mark.parametrize("below", [".", "overlays", "deep/overlays", "link/overlays"])
def test_overlays_never_lie_among_the_images(bccli: Bccli, root: Path, tmp_path: Path, below: str) -> None:
    images = Path(shutil.copytree(root / "new", tmp_path / "images"))
    (tmp_path / "link").symlink_to(images)
    out = (tmp_path if below.startswith("link") else images) / below
    before = sorted(images.rglob("*"))
    sentence = refused(bccli("predict", root / "network", images, "--explain", out, exit=2))
    assert f"lies in {images}" in sentence
    assert sorted(images.rglob("*")) == before
    explained(bccli, root / "network", images / "n0.png", images / "overlays")


@pytest.mark.parametrize("name", ["index.html", "page-2.html", "n0.png"])
def test_a_table_never_takes_the_place_of_a_page(bccli: Bccli, root: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = "predict", root / "network", root / "new", "--explain", out, "--output"
    assert "name another folder" in refused(bccli(*words, out / name, exit=2))
    assert not list(out.iterdir())
    bccli(*words, out / "labels.csv")
    assert len(read_rows(out / "labels.csv")) == len(SIZES)


def test_patches_are_labelled_or_images_explained(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    words = "predict", root / "patches", root / "new", "--level", "patch", "--explain", tmp_path / "out"
    assert "leave one out" in refused(bccli(*words, exit=2))
    assert not (tmp_path / "out").exists()


def test_an_empty_map_says_so(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    image = tmp_path / "black.png"
    save(image, np.zeros((64, 64, 3), np.uint8))
    rows = explained(bccli, root / "words", image, tmp_path / "out")
    assert rows[0]["peak_x"] == ""
    assert "nothing speaks for" in Pictures(tmp_path / "out" / "index.html").text


def test_deep_grey_and_large_images_are_shown(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    deep = tmp_path / "images" / "deep.png"
    deep.parent.mkdir()
    film = np.random.default_rng(0).integers(0, 4096, (900, 700)).astype(np.uint16)
    Image.fromarray(film).save(deep)
    (row,) = explained(bccli, root / "network", deep.parent, tmp_path / "out")
    assert int(row["peak_x"]) < 700
    (overlay,) = (tmp_path / "out").glob("deep-*.png")
    with Image.open(overlay) as picture:
        assert picture.size == (398, 512)


def test_a_report_shows_where_a_run_looked_and_what_gives_labels_away(
    bccli: Bccli, root: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    bccli("evaluate", root / "network", "--report", page, "--bootstrap", 0)
    found = Pictures(page)
    assert sum(str(one["alt"]).startswith("Where the network looked in") for one in found.found) >= 4
    assert "How well a trait alone predicts the labels" in found.text
    bccli("evaluate", root / "network", "--report", page, "--bootstrap", 0, "--without-images")
    assert not Pictures(page).found
    bccli("evaluate", root / "patches", "--report", page, "--bootstrap", 0)
    assert not any(str(one["alt"]).startswith("Where") for one in Pictures(page).found)


ALL_LOADED = """Promise.all([...document.images].map(async one => {
    one.loading = "eager"; await one.decode(); return one.naturalWidth
}))"""
"""The widths of all pictures of a page, once they are there, also those that nobody has scrolled to."""


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_all_overlays_and_finds_nothing_amiss(
    bccli: Bccli, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = "--explain", out, "--mask-dir", root / "masks"
    bccli("predict", root / "network", root / "raw", *words)
    page = out / "index.html"
    pictures = {path.as_uri() for path in out.glob("*.png")}
    with browser.opened(tmp_path / "profile") as tab:
        for dark, width in ((False, 1280), (True, 375)):
            tab.open(page, dark=dark, width=width)
            widths = tab.value(ALL_LOADED)
            assert len(widths) == len(pictures)
            assert all(widths)
            assert tab.complaints() == []
            assert set(tab.requests()) <= {page.as_uri(), *pictures}
            assert tab.value("document.documentElement.scrollWidth") <= width
            if browser.AXE.is_file():
                assert tab.violations() == []
