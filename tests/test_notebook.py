"""The way in from Python gives what the commands print."""

import io
import re
import subprocess
import sys
from pathlib import Path

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
    printed = bccli("predict", finished, raw, bad, "--format", "csv", exit=4).stdout
    found = package.load(finished).predict([raw, str(bad)])
    same(as_printed(found), printed)
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
