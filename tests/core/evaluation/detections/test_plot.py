"""The picture of FROC curves shows what the figures say."""

import math
from pathlib import Path

import pytest

from bccli.core.evaluation.detections.measuring import FilmTerms
from bccli.core.evaluation.detections.plot import draw_froc
from bccli.core.metrics.plots import write_figure
from tests.core.evaluation.detections.test_measuring import LESION, SHAPE, Film, ScoredBox, film

pytestmark = pytest.mark.filterwarnings("error")


def texts(path: Path, films: list[Film], threshold: float | None = None) -> str:
    """The legend and labels of a picture of films."""
    froc = FilmTerms(threshold=threshold, rounds=50).measure(films).to_json()
    figure = draw_froc(froc, "a $run, test")
    assert figure is not None
    write_figure(figure, path / "froc.svg", format="svg")
    assert "<svg" in (path / "froc.svg").read_text()
    (axes,) = figure.axes
    return "\n".join([axes.get_xlabel(), *(text.get_text() for text in axes.get_legend().get_texts())])


def test_both_curves_and_the_threshold_are_named(tmp_path: Path) -> None:
    films = [film(0.5, [0.4]), film(None, []), Film([ScoredBox(LESION, 0.3)], [], SHAPE)]
    shown = texts(tmp_path, films, 0.45)
    assert "false boxes a film" in shown
    assert "counted on all films" in shown
    assert "counted on normal films" in shown
    assert "boxes from 0.4500 on, chosen on val" in shown


def test_what_is_not_there_is_not_drawn(tmp_path: Path) -> None:
    shown = texts(tmp_path, [film(0.5, [0.4])], math.inf)
    assert "normal films" not in shown
    assert "chosen on" not in shown
    assert draw_froc(None, "t") is None
    assert draw_froc(FilmTerms(rounds=0).measure([Film([], [], SHAPE)]).to_json(), "t") is None
