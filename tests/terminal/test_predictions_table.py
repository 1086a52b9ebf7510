"""The table of predictions: streamed, as wide as the terminal, readable for everybody."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color, ColorSystem

from bccli.terminal.console import write_predictions
from bccli.terminal.predictions_table import class_colours, table_lines

TWO = ("benign", "malignant")
THREE = ("benign", "ductal_carcinoma_in_situ", "invasive")
EIGHT = tuple(f"subtype_{'x' * k}" for k in range(8))
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Stream(io.StringIO):
    """What the table is written to: a terminal or not, with its encoding."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal, self._encoding = terminal, encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same terminal wherever the tests run."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def answer(
    path: str, values: Sequence[float], classes: Sequence[str] = TWO, *, top: int | None = None
) -> dict[str, Any]:
    """A row as `core.inference.to_rows` makes it; no values are an error."""
    known = bool(values)
    order = sorted(range(len(classes)), key=lambda k: -values[k]) if known else []
    row: dict[str, Any] = {
        "path": path,
        "predicted": classes[order[0]] if known else None,
        "probability": values[order[0]] if known else None,
    }
    if top is None:
        row |= {f"p_{name}": values[k] if known else None for k, name in enumerate(classes)}
    else:
        for rank in range(1, min(top, len(classes))):
            row[f"predicted_{rank + 1}"] = classes[order[rank]] if known else None
            row[f"probability_{rank + 1}"] = values[order[rank]] if known else None
    return {**row, "error": None if known else "0 bytes"}


def shown(
    rows: Sequence[dict[str, Any]], classes: Sequence[str] = TWO, stream: Stream | None = None
) -> list[str]:
    """The lines of the table."""
    return list(table_lines(rows, classes, stream or Stream()))


# Lines


def test_a_line_has_the_path_the_label_and_its_probability_in_figures_and_as_a_bar() -> None:
    heading, _, first, second, *_ = shown([answer("a.png", (0.95, 0.05)), answer("b.png", (0.0, 1.0))])
    assert heading.split() == ["path", "predicted", "probability", "p_benign", "p_malignant"]
    assert first.split() == ["a.png", "benign", "0.9500", "█████████▌", "0.9500", "0.0500"]
    assert second.split() == ["b.png", "malignant", "1.0000", "██████████", "0.0000", "1.0000"]
    for line in (first, second):
        assert line.index(line.split()[1]) == heading.index("predicted")


def test_columns_that_do_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [answer("a.png", (0.8, 0.1, 0.1), THREE)]
    for columns, probabilities, bar in (("160", True, True), ("100", False, True), ("60", False, False)):
        monkeypatch.setenv("COLUMNS", columns)
        heading, _, line, *_ = shown(rows, THREE)
        assert ("p_ductal_carcinoma_in_situ" in heading) is probabilities
        assert ("█" in line) is bar
        assert "0.8000" in line


def test_ranks_are_shown_instead_of_the_probabilities_of_all_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [answer("a.png", (0.1, 0.2, 0.7), THREE, top=3)]
    monkeypatch.setenv("COLUMNS", "160")
    heading, _, line, *_ = shown(rows, THREE)
    assert heading.split("  ")[-1].strip() == "predicted 3"
    second = line[heading.index("predicted 2") :].split()
    assert second == ["ductal_carcinoma_in_situ", "0.2000", "benign", "0.1000"]
    monkeypatch.setenv("COLUMNS", "90")
    assert "predicted" in shown(rows, THREE)[0]
    assert "predicted 3" not in shown(rows, THREE)[0]
    heading, _, line, *_ = shown([answer("a.png", (0.1, 0.2, 0.7), THREE, top=1)], THREE)
    assert heading.split() == ["path", "predicted", "probability"]
    assert line.split()[:3] == ["a.png", "invasive", "?"]  # 0.7 to 0.3 for all others


def test_an_image_without_label_says_why() -> None:
    lines = shown([answer("a.png", (0.9, 0.1)), answer("b.png", ())])
    assert lines[3].split(maxsplit=1) == ["b.png", "error: 0 bytes"]
    assert lines[3].index("error") == lines[0].index("predicted")
    assert lines[-1] == "1 of 2 images have no label."
    failed = {**answer("b.png", ()), "error": f"truncated\n{'x' * 200}"}
    (line,) = (line for line in shown([failed]) if "b.png" in line)
    assert line.startswith("b.png  error: truncated\\nxxx")
    assert line.endswith("…")
    assert cell_len(line) == 100


def test_of_a_long_path_the_end_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for path in ("slides/" * 20 + "a.png", "乳がん/" * 20 + "a.png", "Pra\u0308parate/" * 20 + "a.png"):
        heading, _, line, *_ = shown([answer(path, (0.9, 0.1))])
        assert line.startswith("…")
        assert line.partition("a.png")[0][1:] in path
        assert cell_len(line.partition("benign")[0]) == heading.index("predicted")


def test_every_name_stays_on_its_line() -> None:
    names = {
        "two\nlines": "two\\nlines",
        "red\x1b[31m": "red\\x1b[31m",
        "pr\udce4parat": "pr\\xe4parat",
        "left\u202e": "left\\u202e",
    }
    for name, escaped in names.items():
        lines = shown([answer(name, (0.9, 0.1))])
        assert lines[2].startswith(f"{escaped}  ")


names = st.text(st.characters(), max_size=60)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(names, names, st.floats(0, 1)), min_size=1, max_size=5),
    st.lists(st.text(st.characters(), min_size=1, max_size=30), min_size=1, max_size=9, unique=True),
    st.integers(30, 250),
    st.sampled_from(("utf-8", "ascii", "latin-1")),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_no_name_breaks_the_table(
    images: list[tuple[str, str, float]], classes: list[str], width: int, encoding: str, top: int | None
) -> None:
    """No line is wider than the terminal, and all can be written."""
    rows = []
    for path, error, value in images:
        rest = (1 - value) / max(1, len(classes) - 1)
        row = answer(path, () if error else (value, *[rest] * (len(classes) - 1)), classes, top=top)
        rows.append(row if not error else {**row, "error": error})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        lines = shown(rows, classes, Stream(terminal=True, encoding=encoding))
    for line in lines:
        plain = ESCAPE.sub("", line)
        assert cell_len(plain) <= width
        assert plain.isprintable()
        plain.encode(encoding)


# Doubt and the summary


@pytest.mark.parametrize(
    ("values", "classes", "doubtful"),
    [
        ((0.75, 0.25), TWO, False),
        ((0.7, 0.3), TWO, True),
        ((0.5, 0.5), TWO, True),
        ((0.61, 0.2, 0.19), THREE, False),
        ((0.6, 0.3, 0.1), THREE, True),
    ],
)
def test_a_label_is_doubtful_below_three_times_the_runner_up(
    values: tuple[float, ...], classes: tuple[str, ...], doubtful: bool
) -> None:
    for top in (None, 2):
        lines = shown([answer("a.png", values, classes, top=top)], classes)
        assert ("benign ?" in lines[2]) is doubtful
        assert ("? doubtful: less than 3 times as probable as the runner-up." in lines) is doubtful


def test_the_summary_has_a_line_per_class() -> None:
    rows = [
        answer("a.png", (0.9, 0.1)), answer("b.png", (0.6, 0.4)), answer("c.png", (0.8, 0.2)),
        answer("d.png", (0.0, 1.0)), answer("e.png", ()),
    ]  # fmt: skip
    lines = shown(rows)
    summary = [line.split() for line in lines[lines.index("") + 1 :]]
    assert summary[:4] == [
        ["class", "images", "share", "mean", "probability", "doubtful"],
        ["benign", "3", "75.0", "%", "0.7667", "1"],
        ["malignant", "1", "25.0", "%", "1.0000", "0"],
        [],
    ]
    assert lines[-2] == "1 of 5 images have no label."
    assert lines[-1].startswith("? doubtful")


def test_one_image_needs_no_summary() -> None:
    assert len(shown([answer("a.png", (0.9, 0.1))])) == 3
    assert len(shown([answer("a.png", ())])) == 3
    assert shown([]) == []


# Streams


def test_a_line_is_there_before_the_next_image_is_looked_at() -> None:
    asked = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(3):
            asked.append(number)
            yield answer(f"{number}.png", (0.9, 0.1))

    lines = table_lines(rows(), TWO, Stream())
    for number in range(3):
        assert any(line.startswith(f"{number}.png") for line in lines)
        assert asked == list(range(number + 1))


def test_a_class_has_the_same_colour_in_the_rows_and_in_the_summary() -> None:
    rows = [answer("a.png", (0.9, 0.1)), answer("b.png", (0.1, 0.9)), answer("c.png", ())]
    lines = shown(rows, stream=Stream(terminal=True))
    for name, code in (("benign", "38;5;32"), ("malignant", "38;5;166")):
        painted = [line for line in lines if f"\x1b[{code}m{name}\x1b[0m" in line]
        assert len(painted) == 2
        assert f"\x1b[{code}m█████████" in painted[0]
    assert "\x1b[31merror: 0 bytes" in lines[4]
    assert [ESCAPE.sub("", line) for line in lines] == shown(rows)


def test_neighbouring_classes_differ_in_colour() -> None:
    for classes in (TWO, THREE, EIGHT):
        colours = list(class_colours(classes).values())
        assert len(colours) == len(classes)
        assert colours[0] == class_colours(TWO)["benign"]
        assert colours[-1] == class_colours(TWO)["malignant"]
        for one, other in pairwise(colours):
            assert one[0] != other[0]
            assert one[1] != other[1]


@pytest.mark.parametrize(
    ("classes", "positive", "alarming", "harmless"),
    [
        (("malignant", "benign"), None, "malignant", "benign"),
        (("cancer", "normal"), "normal", "cancer", "normal"),
        (("carcinoma", "healthy", "zebra"), None, "carcinoma", "healthy"),
        (("a", "b"), "a", "a", "b"),
        (("class 0", "class 1", "class 2"), None, "class 2", "class 0"),
    ],
)
def test_the_gravest_class_has_the_alarm_colour_and_normal_never(
    classes: tuple[str, ...], positive: str | None, alarming: str, harmless: str
) -> None:
    colours, known = class_colours(classes, positive), class_colours(TWO)
    assert colours[alarming] == known["malignant"]
    assert colours[harmless] == known["benign"]
    assert len(set(colours.values())) == len(classes)


@pytest.mark.parametrize(
    ("environment", "terminal"),
    [({}, False), ({"FORCE_COLOR": "1"}, False), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, True)],
)
def test_no_colour_where_none_is_wanted(
    environment: dict[str, str], terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    lines = shown([answer("a.png", (0.9, 0.1)), answer("b.png", ())], stream=Stream(terminal=terminal))
    assert "\x1b" not in "".join(lines)


def test_a_stream_that_knows_only_ascii_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [answer("Präparat/" * 20, (0.6, 0.4)), {**answer("b.png", ()), "error": "is 40×30"}]
    text = "\n".join(shown(rows, stream=Stream(encoding="ascii")))
    assert text.isascii()
    assert "######" in text
    assert "Pr\\xe4parat" in text
    monkeypatch.setenv("TERM", "dumb")
    text = "\n".join(shown(rows[:1], stream=Stream(terminal=True)))
    assert "Präparat" in text
    assert text.replace("ä", "").isascii()


def test_a_closed_pipe_is_the_callers_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Stream):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        write_predictions([answer("a.png", (0.9, 0.1))], TWO, "table", Path("-"))


PROGRAM = """
import json, sys
from pathlib import Path
from bccli.terminal.console import write_predictions
write_predictions(json.loads(sys.argv[1]), ["benign", "malignant"], sys.argv[2], Path(sys.argv[3]))
print("rich" in sys.modules, file=sys.stderr)
"""


def test_a_terminal_gets_a_table_and_a_pipe_csv() -> None:
    rows = json.dumps([answer("a.png", (0.9, 0.1))])
    command = [sys.executable, "-c", PROGRAM, rows, "auto", "-"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout.splitlines()[0] == "path,predicted,probability,p_benign,p_malignant,error"
    assert piped.stderr == "False\n"
    leader, follower = pty.openpty()
    subprocess.run(command, stdout=follower, stderr=subprocess.DEVNULL, check=True)
    os.close(follower)
    written = os.read(leader, 65536).decode()
    os.close(leader)
    assert "█████████" in written
    assert "\x1b[" in written


def test_a_file_gets_what_is_asked_for_without_colours(tmp_path: Path) -> None:
    rows = [answer("a.png", (0.9, 0.1)), answer("pr\udce4parat.png", ())]
    for format in ("auto", "csv", "json", "jsonl", "table"):
        write_predictions(iter(rows), TWO, format, tmp_path / format)
    assert (tmp_path / "auto").read_bytes() == (tmp_path / "csv").read_bytes()
    assert b"pr\xe4parat.png,,,,,0 bytes" in (tmp_path / "csv").read_bytes()
    assert len(json.loads((tmp_path / "json").read_bytes().decode("utf-8", "surrogateescape"))) == 2
    assert (tmp_path / "table").read_text().splitlines() == shown(rows)

    def broken() -> Iterator[dict[str, Any]]:
        yield rows[0]
        raise MemoryError

    for format in ("csv", "json", "table"):
        with pytest.raises(MemoryError):
            write_predictions(broken(), TWO, format, tmp_path / "broken")
        assert not (tmp_path / "broken").exists()
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT])
def test_colours_are_read_on_dark_and_on_light_terminals(system: ColorSystem) -> None:
    """Contrast as WCAG 2.1 measures it, also where a terminal has only 256 colours."""
    colours = {rich for rich, _ in class_colours(["normal", "benign", "dcis", "invasive"]).values()}
    assert len(colours) == 4
    for name in colours:
        channels = np.array(Color.parse(name).downgrade(system).get_truecolor()) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ (0.2126, 0.7152, 0.0722))
        assert (luminance + 0.05) / 0.05 >= 4.5, name
        assert 1.05 / (luminance + 0.05) >= 3, name
