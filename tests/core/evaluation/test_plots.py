"""The pictures of `evaluate --output` show curves, bands and bins where there is something to show."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from bccli.core.evaluation.evaluate import Evaluation, evaluate
from bccli.core.evaluation.plots import draw_all
from bccli.core.evaluation.subjects import subject_of_table
from bccli.core.evaluation.terms import Terms
from bccli.core.metrics.plots import BLUE, COLOURS, VERMILLION
from bccli.core.runs.predictions import parse_predictions

pytestmark = pytest.mark.filterwarnings("error")


def evaluation(
    classes: int, *, patients: int = 12, rounds: int = 50, probabilities: bool = True
) -> Evaluation:
    """A made-up classifier of some patients with three images each."""
    rng = np.random.default_rng(0)
    names = "abcdef"[:classes]
    lines = ["path,label,patient,predicted" + "".join(f",p_{name}" for name in names)]
    for number in range(3 * patients):
        label = number // 3 % classes
        values = rng.dirichlet(1 + 2 * np.eye(classes)[label])
        shown = [f"{value:.6f}" for value in values]
        lines.append(",".join([f"{number}", names[label], f"q{number // 3}", names[values.argmax()], *shown]))
    subject = subject_of_table(parse_predictions(io.StringIO("\n".join(lines)), "t"), "a tool's $table", None)
    if not probabilities:
        subject = replace(subject, predictions=replace(subject.predictions, probabilities=None))
    return evaluate(subject, Terms(rounds=rounds))


def count(path: Path, colour: str, tolerance: int = 0) -> int:
    """Pixels of about a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((abs(pixels - ImageColor.getrgb(colour)).max(axis=-1) <= tolerance).sum())


@pytest.mark.parametrize("classes", [2, 3])
def test_every_class_has_a_curve_and_a_band(tmp_path: Path, classes: int) -> None:
    draw_all(evaluation(classes), tmp_path)
    for name in ("roc", "precision_recall"):
        assert (tmp_path / f"{name}.svg").read_bytes().startswith(b"<?xml")
        for colour in COLOURS[: classes if classes > 2 else 1]:
            assert count(tmp_path / f"{name}.png", colour) > 50
    assert count(tmp_path / "calibration.png", BLUE) > 50
    assert count(tmp_path / "calibration.png", VERMILLION) > 500
    assert not (tmp_path / "beta.png").exists()


def test_too_few_patients_have_curves_without_bands(tmp_path: Path) -> None:
    band = "#cce3f0"  # a fifth of the blue on white
    for patients in (4, 12):
        draw_all(evaluation(2, patients=patients), tmp_path / str(patients))
    assert count(tmp_path / "12" / "roc.png", band, 8) > 10 * (count(tmp_path / "4" / "roc.png", band, 8) + 1)


def test_without_probabilities_there_is_only_the_confusion_matrix(tmp_path: Path) -> None:
    draw_all(evaluation(2, probabilities=False), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "confusion.svg"}


def test_one_class_alone_has_no_curves(tmp_path: Path) -> None:
    whole = evaluation(2)
    only = whole.units.where(whole.units.labels == 0)
    draw_all(evaluate(replace(whole.subject, predictions=only), Terms(rounds=0)), tmp_path)
    assert not (tmp_path / "roc.png").exists()
    assert (tmp_path / "calibration.png").exists()
