"""Policies as files: what is read, and what is said of mistakes."""

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest

from bccli.core.augmentation import built_in, find_policy, policy_from_json
from bccli.core.errors import BccliError, UsageError
from bccli.core.imaging import opencv


def test_the_built_in_policies() -> None:
    assert set(built_in()) == {
        *("table5", "right-angles", "flips", "zoom", "he-jitter", "hybrid", "histology", "mammography")
    }


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_policy_is_read_told_and_sent(name: str) -> None:
    policy = find_policy(name)
    assert policy.title
    assert policy.paper
    again = policy_from_json(policy.to_json(), "other")
    assert again.to_json() == policy.to_json()
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize("name", built_in())
def test_every_value_of_a_built_in_policy_has_its_reason(name: str) -> None:
    lines = built_in()[name].read_text().splitlines()
    values = [
        line for line in lines if " = " in line and not line.startswith(("title", "paper", "augmenter", "#"))
    ]
    assert values
    for line in values:
        assert line.endswith("[") or "#" in line, line
        reason = line.partition("#")[2]
        assert line.endswith("[") or any(
            word in reason for word in ("section", "table", "our choice", "Keras")
        ), line


def test_a_file_of_the_user_s(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(built_in()["table5"].read_text())
    assert find_policy(str(path)).to_json() == find_policy("table5").to_json()


def refusal(tmp_path: Path, text: str) -> str:
    """What is said of a policy file with this operation."""
    path = tmp_path / "mine.toml"
    path.write_text(f"[[operations]]\n{text}\n")
    with pytest.raises(UsageError) as caught:
        find_policy(str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('augmenter = "Fliplrr"', "did you mean 'Fliplr'?"),
        ('augmenter = "GausianBlur"', "did you mean 'GaussianBlur'?"),
        ('augmenter = "InerRotate"\nrotate = 3', "did you mean 'InnerRotate'?"),
        ('augmenter = "InnerRotate"\nrotat = 3', "did you mean 'rotate'?"),
        ('augmenter = "GaussianBlur"\nsigmas = 3', "did you mean 'sigma'?"),
        ('augmenter = "Multiply"\nfactor = 2', "no parameter 'factor'"),
        ('augmenter = "InnerRotate"', "needs rotate"),
        ('augmenter = "Resize"', "needs size"),
        ('augmenter = "Resize"\nsize = 20', "changes the size"),
        ('augmenter = "GaussianBlur"\nsigma = -2', "imgaug refuses it"),
        ('augmenter = "GaussianBlur"\nsigma = "much"', "imgaug refuses it"),
        ('augmenter = "Fliplr"\nprobability = 1.5', "probability 1.5 is not a number from 0 to 1"),
        ('augmenter = "Fliplr"\nprobability = -0.1', "probability -0.1"),
        ('augmenter = "Fliplr"\nprobability = true', "probability True"),
        ('augmenter = "Fliplr"\nprobability = nan', "probability nan"),
        ('augmenter = "InnerRotate"\nrotate = [15, -15]', "not a range"),
        ('augmenter = "InnerRotate"\nrotate = [1, 2, 3]', "{ choice = [...] }"),
        ('augmenter = "InnerRotate"\nrotate = 200', "200 is not a number from -180 to 180"),
        ('augmenter = "InnerRotate"\nrotate = "left"', "'left' is not a number"),
        ('augmenter = "InnerRotate"\nrotate = { choise = [1] }', "a table is a choice"),
        ('augmenter = "InnerRotate"\nrotate = { choice = [] }', "a table is a choice"),
        ('augmenter = "InnerShear"\nshear = 3\naxis = "z"', "one of x, y"),
        ('augmenter = "Rot90"\nk = 1.5', "a whole number from -3 to 3"),
        ('augmenter = "Sometimes"\np = 0.5', "is made of other augmenters"),
        ('augmenter = "OneOf"', "has no operations"),
        ('augmenter = "OneOf"\nchildren = [{ augmenter = "Fliplrr" }]', "did you mean 'Fliplr'?"),
        ("probability = 1.0", "names no augmenter"),
        ("augmenter = 3", "names no augmenter"),
        ("augmenter = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(tmp_path, text)
    assert said in message
    assert "mine.toml" in message
    assert "\n" not in message


def test_the_place_of_a_mistake(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'augmenter = "Fliplr"\n[[operations]]\naugmenter = "Fliplr"\nprobability = 2')
    assert "operation 2 (Fliplr)" in message


def test_an_unknown_policy() -> None:
    with pytest.raises(UsageError, match=r"no policy 'tabel5' \(did you mean 'table5'\?\)"):
        find_policy("tabel5")


@pytest.mark.parametrize("content", [{}, {"operations": []}, {"operations": 3}, {"operation": [{}]}])
def test_a_policy_without_operations(content: dict) -> None:
    with pytest.raises(UsageError, match=r"operations"):
        policy_from_json(content, "mine")


def test_opencv_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return really(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BccliError, match=r"libGL\.so\.1.*opencv-python-headless"):
        opencv.load_cv2()
