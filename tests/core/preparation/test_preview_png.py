"""preview.png: what stands below each image."""

import pytest

from bccli.core.data.manifest import Sample
from bccli.core.preparation.preview_png import _caption


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
