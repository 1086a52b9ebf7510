"""Letters of pictures that are drawn with Pillow alone."""

import subprocess
import sys

import pytest

from bccli.core.imaging import lettering

LETTERS = "äöüßÄÖÜéèçñåøłőšžğŞ×·…–µβαЖяΩ"


def test_letters_of_european_languages_are_letters_and_not_boxes() -> None:
    font = lettering.font_of(20)
    drawn = {bytes(font.getmask(letter)) for letter in LETTERS}
    assert len(drawn) == len(LETTERS)


def test_matplotlib_lends_its_font_without_being_imported() -> None:
    program = (
        "import sys; from bccli.core.imaging.lettering import font_of;"
        "assert font_of(12).getname()[0] == 'DejaVu Sans'; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_pillows_own_font_does_where_matplotlib_brings_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "find_spec", lambda name: None)
    font = lettering.font_of.__wrapped__(12)
    assert font.getlength("abc") > 0


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("text", ["", "short", "w" * 400, "gut\udce4rtig " * 40])
def test_a_text_is_cut_to_its_room(text: str, end: bool) -> None:
    font = lettering.font_of(11)
    found = lettering.fitted(text, font, 144, end=end)
    assert font.getlength(found) <= 144
    assert ("…" in found) == (len(text) > 9)
    assert found.startswith("…") == (end and len(text) > 9)
