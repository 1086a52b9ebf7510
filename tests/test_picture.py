"""The picture of the README: it is there, and the script that made it makes it still."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from bccli.cli import cli
from tests.browser import CHROMIUM
from tests.conftest import REPOSITORY, Bccli

SCRIPT = REPOSITORY / "examples" / "picture" / "picture.py"
LARGEST = 300_000
"""Bytes of a picture that a page is not slow to show."""


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("picture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_a_picture_of_a_sensible_size(picture: ModuleType) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", text)
    assert REPOSITORY / shown == SCRIPT.parent / "bccli.png"
    assert (REPOSITORY / shown).stat().st_size < LARGEST
    with Image.open(REPOSITORY / shown) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (picture.WIDTH, picture.HEIGHT))
    assert "(examples/picture/picture.py)" in text


def test_its_commands_have_options_of_their_commands(picture: ModuleType) -> None:
    for line in (*picture.MAKING, picture.SHOWN):
        name, *words = line.split()
        options = {option for param in cli.commands[name].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= options


@pytest.fixture
def shown(picture: ModuleType, bccli: Bccli, finished: Path, tmp_path: Path) -> str:
    """The page of a tiny run: its terminal's words, and addresses of what is beside them."""
    bccli("evaluate", finished, "--report", tmp_path / "report.html")
    (finished.parent / "raw").rename(finished.parent / "new")
    text = picture.bccli_on_a_terminal(f"-q {picture.SHOWN}", finished.parent)
    return str(picture.page(picture.SHOWN, text, tmp_path / "roc.svg", tmp_path / "report.html"))


def test_the_page_has_the_terminal_in_its_colours_and_the_other_two_beside_it(
    shown: str, tmp_path: Path
) -> None:
    assert "$ bccli predict run new" in shown
    assert shown.count(".png") == 24
    assert re.search(r'<span style="color: #\w{6}[^>]*>malignant', shown)
    report, roc = (tmp_path / name for name in ("report.html", "roc.svg"))
    anchors = re.findall(rf'src="{report.as_uri()}#([^"]+)"', shown)
    assert len(anchors) == 2
    assert all(f'id="{anchor}"' in report.read_text(encoding="utf-8") for anchor in anchors)
    assert f'src="{roc.as_uri()}"' in shown


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_page_is_photographed(picture: ModuleType, shown: str, tmp_path: Path) -> None:
    (tmp_path / "picture.html").write_text(shown, encoding="utf-8")
    picture.photograph(tmp_path / "picture.html", tmp_path / "picture.png", CHROMIUM)
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == (picture.WIDTH, picture.HEIGHT)
        assert len(image.getcolors() or ()) > 10


@pytest.mark.slow
@pytest.mark.exports
@pytest.mark.pictures
def test_the_script_goes_through(picture: ModuleType, tmp_path: Path) -> None:
    html = picture.make(tmp_path, images=36, patients=12, epochs=1)
    assert (tmp_path / "figures" / "roc.svg").is_file()
    assert "new/P001_L_CC_00.png" in html.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["one.png", "other.png"], ["one.jpg"]])
def test_other_words_get_its_first_lines(picture: ModuleType, words: list[str]) -> None:
    with pytest.raises(SystemExit, match="then Chromium"):
        picture.main(words)


def test_a_command_that_fails_ends_it(picture: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        picture.bccli_on_a_terminal("predict nowhere nothing", tmp_path)
