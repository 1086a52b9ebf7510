"""An answer that is not a number is an error, and never a label."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.imaging.preparation import Preparation
from bccli.core.models.runtimes import OUTPUTS
from bccli.core.prediction.file_predictions import rows_of_images
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.run_predictor import Averaging
from tests.conftest import draw


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("by_patch", [False, True])
def test_scores_that_are_not_finite_make_an_error_row(
    output: str, score: float, by_patch: bool, tmp_path: Path
) -> None:
    from PIL import Image

    names = []
    for number in range(2):
        names.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(draw(0, number, (8, 8))).save(names[-1])
    first = np.asarray(Image.open(names[0]))

    def network(images: np.ndarray) -> np.ndarray:
        odd = np.array([(image == first).all() for image in images])
        width = 2 if output == "softmax" else 1
        scores = np.where(odd[:, None], score, 0.0) * np.ones((1, width))
        return OUTPUTS[output](scores)

    member = Averaging(("a", "b"), (Preparation(size=(8, 8)), (8, 8)), (network,))
    predictor = Predictor(("a", "b"), (member,), "here", step=1, by_patch=by_patch)
    rows = [row for found in rows_of_images(predictor, names) for row in found.rows]
    assert [row["predicted"] for row in rows] == [None, "a"]
    assert "not a number" in rows[0]["error"]
    assert rows[0]["p_a"] is None
    assert rows[1]["error"] is None
