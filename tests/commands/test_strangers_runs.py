"""Commands on a run whose run.json somebody has edited: they work, or say what is wrong there."""

import json
import random
from pathlib import Path

import pytest

from tests.conftest import PATIENT, Bccli
from tests.core.reading.test_values_from_strangers import ODD, changed, places

SPOILT = {
    "positive_origin": "guessed", "decide": "dice", "litert": {"file": "../model.tflite"}, "classes": [],
    "leakage": {"elsewhere": {}}, "locators": {"../a": {}}, "parts": [".."], "files": {"../a": "0"},
    "preparation": {"size": None}, "size": [0, 8], "calibration": {"temperature": 0}, "exports": {"a": 3},
    "spread": [], "data": {"hash": 3, "images": 1}, "settings": {"output": "dice"}, "tree": "a, b, c",
    "fold_kind": 1, "seed": -1, "norm": {"mean": [1]}, "positive": "nobody",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that needs no TensorFlow, and an image beside it."""
    from tests.conftest import draw_folder
    from tests.library import bccli_in

    place = tmp_path_factory.mktemp("stranger")
    raw = draw_folder(place / "raw")
    bccli_in("prepare", "folder", raw, place / "data", *PATIENT)
    bccli_in("train", place / "data", place / "run", "--classifier", "bovw")
    return place / "run"


@pytest.mark.slow
def test_an_edited_run_works_or_says_what_is_wrong(bccli: Bccli, run: Path) -> None:
    text = (run / "run.json").read_text()
    facts, image = json.loads(text), next(iter(sorted((run.parent / "raw").rglob("*.png"))))
    commands = ("evaluate", run), ("predict", run, image)
    try:
        for key, value in SPOILT.items():
            (run / "run.json").write_text(json.dumps({**facts, key: value}))
            for command in commands:
                stderr = bccli(*command, exit=3).stderr
                assert "run.json" in stderr, key
                assert len(stderr.splitlines()) == 1
        draw = random.Random(0)
        known = [place for place in places(facts) if place[0] not in ("versions", "hardware", "commit")]
        for number in range(150):
            odd, drop = draw.choice(ODD), draw.random() < 0.5

            def change(holder: dict, key: str, odd: object = odd, drop: bool = drop) -> None:
                if drop:
                    del holder[key]
                else:
                    holder[key] = odd

            (run / "run.json").write_text(json.dumps(changed(facts, draw.choice(known), change)))
            result = bccli(*commands[number % 2], exit=None)
            assert result.exit_code in (0, 3), f"{(run / 'run.json').read_text()}\n{result.stderr}"
    finally:
        (run / "run.json").write_text(text)
