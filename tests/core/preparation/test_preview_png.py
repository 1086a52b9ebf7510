"""preview.png: what stands above each row and below each image."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bccli.core.data.manifest import Sample
from bccli.core.preparation.preview_png import _GAP, _SIDE, PER_CLASS, Selection, _caption, draw_preview


@pytest.mark.parametrize(
    ("facts", "known", "words"),
    [
        ({"split": "train", "patient": "7"}, True, "train · patient 7"),
        ({"split": "train", "patient": "TCGA-A1-0001"}, True, "train · TCGA-A1-0001"),
        ({"fold": 2, "patient": "7"}, True, "fold 2 · patient 7"),
        ({"split": "val"}, True, "val · patient unknown"),
        ({"split": "val"}, False, "val"),
    ],
)
def test_a_caption_names_the_patient_unless_none_is_known(facts: dict, known: bool, words: str) -> None:
    assert _caption(Sample(path="x.png", **facts), known) == words


def test_a_name_of_any_length_leaves_room_for_what_is_said_of_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, at, words, *more, **style: written.append(words)
    )
    selection = Selection(("W" * 300, "b"))
    draw_preview(tmp_path, selection)
    assert written[0].endswith("W… (patients unknown)")
    assert written[1:] == ["b"]


def test_no_words_leave_the_sheet_or_reach_below_the_next_image(tmp_path: Path) -> None:
    labels = ("W" * 300, "gutärtig, größer", "<b>$x$</b>")
    selection = Selection(labels)
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    for label in labels:
        for _ in range(PER_CLASS):
            selection.add(Sample(path="white.png", label=label, split="train", patient="W" * 40))
    sheet = np.asarray(Image.open(io.BytesIO(draw_preview(tmp_path, selection))).convert("L"))
    assert (sheet < 128).any()
    gaps = [_GAP + index * (_SIDE + _GAP) - 4 for index in range(1, PER_CLASS + 1)]
    assert (sheet[:, -4:] == 255).all()
    captions = sheet[-_GAP - 20 : -_GAP]
    assert (captions < 200).any()
    assert (captions[:, gaps] == 255).all()
