"""The way in from Python gives what the commands print."""

import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bccli as package
from bccli.core.errors import BccliError, DataError, UsageError
from tests.conftest import REPOSITORY, Bccli, read_rows
from tests.test_cli import HEAVY, modules_after

GUIDE = REPOSITORY / "examples" / "guide" / "results" / "notebook.md"
EXAMPLE = REPOSITORY / "examples" / "in_python.py"


def same(frame: pd.DataFrame, printed: str) -> None:
    """Compare a frame with what a command printed as CSV, each value as its text."""
    assert pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str).equals(
        pd.read_csv(io.StringIO(printed), dtype=str)
    )


def as_printed(frame: pd.DataFrame) -> pd.DataFrame:
    """Fractions with the six significant digits of predict's CSV."""
    return frame.map(lambda value: float(f"{value:.6g}") if isinstance(value, float) else value)


def test_predict_gives_the_rows_of_the_command(bccli: Bccli, finished: Path) -> None:
    raw = finished.parent / "raw"
    bad = finished.parent / "bad.png"
    bad.write_bytes(b"")
    result = bccli("predict", finished, raw, bad, "--format", "csv", exit=4)
    with pytest.warns(UserWarning, match="1 of 25 images have no label") as warned:
        found = package.load(finished).predict([raw, str(bad)])
    same(as_printed(found), result.stdout)
    assert all(str(warning.message) in result.stderr for warning in warned)
    assert len(found) == 25
    assert found["error"].notna().sum() == 1
    assert found["p_malignant"].between(0, 1).sum() == 24


def test_one_path_needs_no_list(bccli: Bccli, finished: Path) -> None:
    image = finished.parent / "raw" / "benign" / "p0_0.png"
    printed = bccli("predict", finished, image, "--format", "csv").stdout
    same(as_printed(package.load(finished).predict(image)), printed)


@pytest.mark.parametrize("options", [{}, {"split": "val"}, {"level": "patient", "bootstrap": 0}])
def test_evaluate_gives_the_figures_of_the_command(
    bccli: Bccli, finished: Path, options: dict[str, object]
) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    printed = bccli("evaluate", finished, "--format", "csv", *words).stdout
    same(package.load(finished).evaluate(**options), printed)  # type: ignore[arg-type]


def test_evaluate_takes_another_dataset_and_warns_of_leaks(bccli: Bccli, finished: Path) -> None:
    data = finished.parent / "data"
    result = bccli("evaluate", finished, "--data", data, "--format", "csv")
    with pytest.warns(UserWarning, match="what the run was trained on") as warned:
        found = package.load(finished).evaluate(data)
    same(found, result.stdout)
    assert all(str(warning.message) in result.stderr for warning in warned)


def test_a_warning_is_of_the_line_that_calls(finished: Path) -> None:
    run, nowhere = package.load(finished), finished / "nowhere.png"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        run.predict(nowhere)
        run.predict(nowhere)
        run.evaluate(finished.parent / "data", bootstrap=0)
        run.evaluate(finished.parent / "data", bootstrap=0)
    assert {warning.filename for warning in warned} == {__file__}
    assert len({warning.lineno for warning in warned}) == 4


def test_a_run_is_one_short_line(finished: Path) -> None:
    assert repr(package.load(finished)) == f"<bccli run {finished.name!r}: network, benign/malignant>"


def test_arguments_that_cannot_be_are_named(finished: Path) -> None:
    run = package.load(finished)
    for rounds in (-1, 5, 1.5, 1_000_001):
        with pytest.raises(UsageError, match=f"bootstrap is {rounds}"):
            run.evaluate(bootstrap=rounds)  # type: ignore[arg-type]
    for workers in (-1, 0, 1.5):
        with pytest.raises(UsageError, match=f"workers is {workers}"):
            package.load(finished, workers=workers)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the list of paths is empty"):
        run.predict([])


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.uint8), [np.zeros(3)], b"PNG", 3, None])
def test_an_image_is_wanted_as_a_file(finished: Path, image: object) -> None:
    with pytest.raises(TypeError, match="write the image to a file"):
        package.load(finished).predict(image)  # type: ignore[arg-type]


def test_what_is_not_installed_is_the_sentence_of_the_command(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = package.load(finished)
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call, name in ((lambda: run.predict(finished), "predict"), (run.evaluate, "evaluate")):
        with pytest.raises(BccliError, match=f"^{name} needs pandas: pip install pandas$"):
            call()
    with pytest.raises(BccliError, match=r"^read needs pandas"):
        package.read(finished.parent / "data")


def test_read_gives_the_manifest(prepared: Path) -> None:
    found, rows = package.read(str(prepared)), read_rows(prepared / "manifest.csv")
    assert list(found.columns) == list(rows[0])
    assert found["path"].tolist() == [row["path"] for row in rows]
    assert found["width"].astype(str).tolist() == [row["width"] for row in rows]


def test_errors_are_the_sentences_of_the_commands(bccli: Bccli, finished: Path, tmp_path: Path) -> None:
    data, empty = finished.parent / "data", tmp_path / "empty"
    empty.mkdir()
    run = package.load(finished)
    cases = (
        (lambda: package.load(data), ("predict", data, data)),
        (lambda: package.load(tmp_path / "nowhere").evaluate(), ("evaluate", tmp_path / "nowhere")),
        (lambda: run.predict(empty), ("predict", finished, empty)),
        (lambda: run.predict(finished / "run.json", level="patch"),
         ("predict", finished, finished / "run.json", "--level", "patch")),
        (lambda: run.evaluate(empty), ("evaluate", finished, "--data", empty)),
    )  # fmt: skip
    for call, command in cases:
        with pytest.raises(BccliError) as raised:
            call()
        assert bccli(*command, exit=raised.value.exit_code).stderr.endswith(f"Error: {raised.value}\n")
    with pytest.raises(DataError, match="not a prepared dataset"):
        package.read(empty)
    with pytest.raises(UsageError, match="did you mean 'patient'"):
        run.evaluate(level="patients")
    with pytest.raises(UsageError, match="leave one out"):
        run.evaluate(data, split="val")


def test_the_package_is_imported_without_anything_heavy() -> None:
    assert not modules_after("import bccli").intersection(HEAVY)
    assert not modules_after("import bccli\nassert callable(bccli.load)").intersection(
        {"tensorflow", "pandas"}
    )
    with pytest.raises(AttributeError, match="lod"):
        package.lod  # noqa: B018


def test_the_script_goes_through(finished: Path) -> None:
    command = [sys.executable, EXAMPLE, finished, finished.parent / "data", finished.parent / "raw"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the least certain first" in done.stdout
    assert "accuracy" in done.stdout
    assert subprocess.run(command[:2], capture_output=True).returncode == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_lines_of_the_page_come_true(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = finished.parent
    (place / "raw").rename(place / "new")
    (place / "one.png").write_bytes((place / "new" / "benign" / "p0_0.png").read_bytes())
    (place / "other").symlink_to("data")
    monkeypatch.chdir(place)
    names: dict[str, pd.DataFrame] = {}
    code, *_ = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, names)
    assert len(names["labels"]) == 25
    assert len(names["figures"]) == len(names["elsewhere"]) == 1
