"""sweep.png: each member can be told from the others, and no name lies on anything else."""

import math
from typing import Any

import numpy as np
import pytest

from bccli.core.catalog import BACKBONES
from bccli.core.sweeps import plots
from bccli.core.sweeps.point_labels import Place, Surroundings, groups, places, ranges
from tests import drawn

pytestmark = pytest.mark.filterwarnings("error")

LONG = "inception-resnet-v2-support-vector-machine-seed"


def rows(members: int, *, name: str = "net-", spread: float = 0.05, steps: int = 48) -> list[dict[str, Any]]:
    """A made-up leaderboard: accuracies of so many images, around the line of what is the same on both."""
    rng = np.random.default_rng(members)
    values = np.sort((0.85 + spread * rng.standard_normal(members)).clip(0, 1))[::-1]
    return [
        {
            "name": f"{name}{rank}",
            "status": "complete",
            "chosen": rank == 0,
            "val_accuracy": round(value * steps) / steps,
            "test_accuracy": round(min(value + 0.02 * rng.standard_normal(), 1) * steps) / steps,
            "beta": 1 + 0.1 * rng.standard_normal(),
            "test_roc_auc": min(value + 0.05, 1.0),
        }
        for rank, value in enumerate(values)
    ]


def figure_of(patch: pytest.MonkeyPatch, *args: Any, **options: Any) -> Any:
    figures = drawn.figures_of(patch, plots)
    plots.plot_sweep(*args, "", **options)
    return figures[0]


def labels(figure: Any) -> list[Any]:
    return [text for axes in figure.axes for text in axes.texts if text.get_text()]


SIZES = (1, 2, 12, 20, 60)


@pytest.mark.parametrize("members", SIZES)
@pytest.mark.parametrize("name", ["net-", LONG, "a_$x^{$"])
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_labels_lie_on_nothing(
    monkeypatch: pytest.MonkeyPatch, members: int, name: str, spread: float
) -> None:
    figure = figure_of(monkeypatch, rows(members, name=name, spread=spread), title="sweep")
    assert labels(figure)
    assert drawn.overlapping(figure) == []
    assert drawn.formulas(figure) == []
    assert drawn.crossed(figure, labels(figure)) == []
    for text in labels(figure):
        box = drawn.box_of(text)
        dots = np.concatenate([dots.get_offsets() for dots in text.axes.collections])
        assert box.count_contains(text.axes.transData.transform(dots)) == 0
        assert text.axes.bbox.x0 <= box.x0 <= box.x1 <= text.axes.bbox.x1


@pytest.mark.parametrize("members", SIZES)
@pytest.mark.parametrize("name", ["net-", LONG])
def test_every_member_is_named(monkeypatch: pytest.MonkeyPatch, members: int, name: str) -> None:
    board = rows(members, name=name)
    said = drawn.words(figure_of(monkeypatch, board))
    names = {word for text in said for word in text.split()}
    assert {row["name"] for row in board} <= names


@pytest.mark.parametrize("members", [12, 20])
def test_numbers_are_those_of_the_key(monkeypatch: pytest.MonkeyPatch, members: int) -> None:
    figure = figure_of(monkeypatch, rows(members, name=LONG))
    key = [text.get_text() for text in figure.texts]
    assert key[::2] == [str(number) for number in range(1, members + 1)]
    assert key[1::2] == [f"{LONG}{rank}" for rank in range(members)]
    for axes in figure.axes:
        shown = ", ".join(text.get_text().replace("\n", " ") for text in axes.texts if text.get_text())
        assert expanded(shown) == {*range(1, members + 1)}


def expanded(text: str) -> set[int]:
    numbers: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("–")
        numbers |= {*range(int(first), int(last or first) + 1)}
    return numbers


def test_hundreds_of_members_say_that_some_have_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figure_of(monkeypatch, rows(300))
    assert drawn.overlapping(figure) == []
    assert "and 240 more without numbers, in leaderboard.csv" in drawn.words(figure)


@pytest.mark.parametrize("recipe", ["cbis-ddsm-tl", "cbis-ddsm-ft"])
def test_the_papers_points_are_named_in_their_colour(monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    board = [
        {**row, "name": name, "beta_paper": 1 + row["beta"] / 9, "test_auc_paper": row["test_roc_auc"]}
        for row, name in zip(rows(20), BACKBONES, strict=False)
    ]
    if recipe.endswith("ft"):
        board = [{**row, "from_layer": 5} for row in board]
    figure = figure_of(monkeypatch, board, recipe=recipe)
    assert drawn.overlapping(figure) == []
    right = figure.axes[1]
    assert {text.get_color() for text in right.texts if text.get_text()} == {plots.INK, plots.VERMILLION}
    legend = [text.get_text() for text in right.get_legend().get_texts()]
    assert legend.count("the paper's") == legend.count("chosen") == 1


def test_members_without_figures_leave_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    board = [{"name": name, "status": "failed", "chosen": False} for name in "ab"]
    said = drawn.words(figure_of(monkeypatch, board))
    assert "no member has figures on both" in said
    assert "no member has both" in said
    assert not {"a", "b"} & {*said}


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_member_without_a_number_has_no_point(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    board = rows(3)
    board[1] = {**board[1], "test_accuracy": value, "beta": value}
    said = drawn.words(figure_of(monkeypatch, board))
    assert ("net-0" in said, "net-1" in said, "net-2" in said) == (True, False, True)


FRAME, POINT = np.array([0.0, 0.0, 100.0, 100.0]), np.array([50.0, 50.0])
NOTHING, NO_LINES = np.empty((0, 4)), np.empty((0, 2, 2))


def place_of(
    *, boxes: Any = NOTHING, lines: Any = NO_LINES, others: Any = (), distances: Any = (4.0,)
) -> Place | None:
    """Where a name of 20×10 pixels stands for a point amid a frame of 100×100."""
    around = Surroundings(FRAME, np.array(boxes), np.array(lines), np.array([POINT, *others]))
    (place,) = places(POINT[None], np.array([[20.0, 10.0]]), np.array([1.0]), around, distances)
    return place


def test_a_name_takes_the_nearest_place_that_is_free() -> None:
    place = place_of()
    assert place is not None
    assert (place.box[:2] > 50).all()
    place = place_of(boxes=[[51.0, 51.0, 99.0, 99.0]])
    assert place is not None
    assert place.box[2] < 50 < place.box[1]
    diagonal = [[[0.0, 0.0], [100.0, 100.0]], [[0.0, 100.0], [100.0, 0.0]]]
    place = place_of(lines=diagonal, distances=[4.0, 25.0])
    assert place is not None
    assert abs(place.box[0] + place.box[2] - 100) < 1 or abs(place.box[1] + place.box[3] - 100) < 1
    assert place_of(boxes=FRAME[None]) is None


def test_a_name_is_nearer_to_its_own_point_than_to_another_if_it_can_be() -> None:
    place = place_of(others=[[60.0, 52.0]])
    assert place is not None
    assert place.clear
    assert place.box[2] < 50
    around = [POINT + 12 * np.array([x, y]) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    place = place_of(others=around, distances=[8.0])
    assert place is not None
    assert not place.clear


def test_points_over_each_other_share_a_name() -> None:
    assert groups(np.array([[0.0, 0.0], [9.0, 9.0], [1.0, 0.0]]), 2) == [[0, 2], [1]]
    assert ranges([7, 1, 2, 3, 9, 10]) == "1–3, 7, 9, 10"
    assert ranges([]) == ""
