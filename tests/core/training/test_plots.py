"""Plots are the same whether a sweep's painter draws them or the process that trains."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from bccli.core.files import begin
from bccli.core.runs.run_folder import load_run
from bccli.core.training.checkpoint import Progress
from bccli.core.training.plots import Drawing, draw, drawn
from bccli.core.workers import Team
from tests.conftest import Bccli, tree

HISTORY = [
    {"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.5, "val_loss": 0.7, "val_accuracy": 0.4}
    for epoch in (1, 2, 3)
]

pytestmark = pytest.mark.pictures


@pytest.fixture
def drawing(bccli: Bccli, prepared: Path, tmp_path: Path) -> Drawing:
    """A run without its plots."""
    run = tmp_path / "run"
    bccli("train", prepared, run, "--classifier", "bovw")
    shutil.rmtree(run / "plots")
    return Drawing(load_run(run), Progress(epoch=3, kept_epoch=2, history=HISTORY))


def plots(drawing: Drawing) -> dict[str, bytes]:
    """What is drawn, and forgotten at once."""
    folder = drawing.run.root / "plots"
    found = tree(folder)
    shutil.rmtree(folder)
    return found


def test_a_painter_draws_what_would_be_drawn_here(drawing: Drawing) -> None:
    draw(drawing)
    expected = plots(drawing)
    assert sorted(expected) == [
        "confusion_test.png", "confusion_val.png", "curves.png", "roc_test.png", "roc_val.png",
    ]  # fmt: skip
    with Team(draw, 1) as plot_pool:
        for _ in range(2):
            with drawn(drawing, plot_pool):
                pass
            assert plots(drawing) == expected
    with drawn(drawing, None):
        assert not (drawing.run.root / "plots").exists()
    assert plots(drawing) == expected


def test_a_painter_that_was_killed_is_replaced_by_this_process(drawing: Drawing) -> None:
    """Before it is given something, and in the middle of it."""
    draw(drawing)
    expected = plots(drawing)
    with Team(draw, 1) as plot_pool:
        with drawn(drawing, plot_pool):
            (process,) = plot_pool._processes
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            folder = drawing.run.root / "plots"
            folder.mkdir(exist_ok=True)
            half, stream = begin(folder / "roc_val.png")  # this process has looked here before it was left
            stream.close()
        assert not half.exists()
        assert plots(drawing) == expected
        for _ in range(2):
            with drawn(drawing, plot_pool):
                pass
            assert plots(drawing) == expected
