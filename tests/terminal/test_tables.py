"""Tables at any width: whole words, whole numbers, no column that is empty or missing."""

import io
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bccli.terminal.tables import Column, print_table
from bccli.terminal.writers import WRITERS

LINES = re.compile("[┏┳┓┡╇┩│┃└┴┘├┼┤─━]+")
INTERVAL = "0.842 (0.700–0.912)"

words = st.text("aBc019Äß-_.,(–)", min_size=1, max_size=12)
texts = st.lists(words, min_size=1, max_size=4).map(" ".join)
cells = st.one_of(texts, st.just(INTERVAL), st.floats(0, 1).map("{:.4f}".format), st.just(""))


@st.composite
def columns(draw: Any) -> list[Column]:
    """Some columns of equal length."""
    rows, count = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    return [
        Column(draw(texts), draw(st.lists(cells, min_size=rows, max_size=rows)), draw(st.booleans()))
        for _ in range(count)
    ]


def test_words_of_double_width_are_whole_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [Column("0", ["0"], False)] * 8 + [Column("0", ["0 00㯙 0"], False), Column("0", ["0"], False)]
    text = printed(shown, 30, monkeypatch)
    assert set(words_of(text)) == {"0", "00㯙"}
    assert all(cell_len(line) <= 30 for line in text.splitlines())


def printed(shown: list[Column], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table on a terminal so wide."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_table(shown, stream)
    return stream.getvalue()


def words_of(text: str) -> list[str]:
    """All words, without the lines of tables."""
    return LINES.sub(" ", text).split()


@given(columns(), st.integers(30, 200))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_word_is_whole_or_ends_in_an_ellipsis(shown: list[Column], width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        text = printed(shown, width, patch)
    assert all(cell_len(line) <= width for line in text.splitlines())
    wanted = [word for column in shown for value in column.texts for word in value.split()]
    found = words_of(text)
    for word in set(found) - set(wanted):
        assert word.endswith("…")
        assert any(one.startswith(word[:-1]) for one in wanted)
    if all(column.least <= (width - 2) // 2 for column in shown):
        assert set(found) == set(wanted)


@pytest.mark.parametrize("width", [80, 120, 400])
def test_what_fits_stays_on_one_line_and_what_does_not_wraps_before_its_interval(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [Column("run", ["mobilenet-0.25-seed0"], False)]
    shown += [Column(name, [INTERVAL], False) for name in ("accuracy", "AUC", "AUC of precision")]
    lines = [line for line in printed(shown, width, monkeypatch).splitlines() if "0.842" in line]
    assert len(lines) == 1
    assert lines[0].count(INTERVAL) == (3 if width > 80 else 0)
    text = printed(shown, width, monkeypatch)
    assert text.count("(0.700–0.912)") == 3


def test_columns_without_a_value_are_left_out() -> None:
    rows = [
        {"name": "a", "nothing": None, "empty": "", "some": None},
        {"name": "b", "nothing": None, "empty": None, "some": 1},
    ]
    stream = io.StringIO()
    WRITERS["table"](rows, stream, "")
    assert words_of(stream.getvalue()) == ["name", "some", "a", "b", "1"]


def test_a_table_too_wide_becomes_several_that_begin_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [Column(f"column{k}", [f"value{k}" * 2, f"other{k}" * 2], False) for k in range(20)]
    text = printed(shown, 60, monkeypatch)
    tables = text.split("\n\n")
    assert len(tables) > 3
    assert all(table.lstrip().startswith("column0 ") and "value0value0" in table for table in tables)
    assert set(words_of(text)) == {word for column in shown for word in column.texts}


def test_a_long_path_keeps_its_end_and_leaves_room_for_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"a/very/long/folder/{'x' * 60}/predictions-{k}.csv" for k in range(2)]
    shown = [Column("run", paths, False), *(Column(f"figure {k}", ["0.1234"] * 2, False) for k in range(4))]
    text = printed(shown, 80, monkeypatch)
    assert "\n\n" not in text
    for k in range(2):
        assert re.search(rf"^…x*/predictions-{k}\.csv +0\.1234", text, re.MULTILINE)
