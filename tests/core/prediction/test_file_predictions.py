"""Rows of answers: the label first, then the classes by their probabilities, whatever is asked for."""

import numpy as np
import pytest

from bccli.core.imaging.remarks import Remarks
from bccli.core.prediction.file_predictions import FilePrediction, remarked, to_rows

CLASSES = ("benign", "malignant", "normal")
SHARES = np.array([0.5, 0.2, 0.3])


def test_all_classes_stand_in_their_own_order_and_further_columns_behind() -> None:
    answer = FilePrediction("a.png", SHARES, columns={"tree:benign": 0.7})
    (row,) = to_rows([answer], CLASSES, None, columns=["tree:benign"])
    assert list(row) == [
        "path", "predicted", "probability", "p_benign", "p_malignant", "p_normal", "tree:benign", "error",
    ]  # fmt: skip
    assert list(row.values()) == ["a.png", "benign", 0.5, 0.5, 0.2, 0.3, 0.7, None]


@pytest.mark.parametrize(
    ("label", "order"),
    [(None, (0, 2, 1)), (0, (0, 2, 1)), (1, (1, 0, 2)), (2, (2, 0, 1))],
    ids=["the most probable", "the same", "the least", "the middle"],
)
@pytest.mark.parametrize("top", [1, 2, 3, 9])
def test_ranks_begin_with_the_label(label: int | None, order: tuple[int, ...], top: int) -> None:
    (row,) = to_rows([FilePrediction("a.png", SHARES, label=label)], CLASSES, top)
    names = [name for name in row if name.startswith("predicted")]
    assert names == ["predicted", "predicted_2", "predicted_3"][:top]
    assert [row[name] for name in names] == [CLASSES[number] for number in order][:top]
    values = [row[name] for name in row if name.startswith("probability")]
    assert values == [SHARES[number] for number in order][:top]


@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("by_patch", [False, True])
def test_an_error_has_the_columns_of_an_answer(top: int | None, by_patch: bool) -> None:
    answers = [
        FilePrediction("a.png", SHARES, position=(3, 4)),
        FilePrediction("b.png", None, "is cut short"),
    ]
    good, bad = to_rows(answers, CLASSES, top, by_patch=by_patch)
    assert list(good) == list(bad)
    assert {name: value for name, value in bad.items() if value is not None} == {
        "path": "b.png",
        "error": "is cut short",
    }
    assert [good.get("row"), good.get("col")] == ([3, 4] if by_patch else [None, None])


def test_remarks_are_counted_and_answers_left_as_they_are() -> None:
    answers = [FilePrediction("a.png", SHARES, remark="nearly black"), FilePrediction("b.png", SHARES)]
    remarks = Remarks()
    assert list(remarked(answers, remarks)) == answers
    assert remarks.count == 1
