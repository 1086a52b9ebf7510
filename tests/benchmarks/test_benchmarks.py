"""The harness itself, on processes that do next to nothing; nothing here is timed."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="benchmarks need the extra `bench`")

from tests.benchmarks import __main__ as program
from tests.benchmarks import results
from tests.benchmarks.comparing import PEAK, Row, Side, Target, compare, left_below, ratio_at_most
from tests.benchmarks.memory import make_images
from tests.benchmarks.processes import measure
from tests.benchmarks.reporting import conditions, markdown


def python(code: str) -> list[str]:
    """A command that runs some code."""
    return [sys.executable, "-c", code]


HOLD = "import time; held = b'x' * {}; time.sleep(0.3)"


def test_measure_times_a_process_and_its_children() -> None:
    child = "import time\nwhile time.process_time() < 0.2: pass"
    run = measure(
        python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print(7)")
    )
    assert run.output == "7\n"
    assert 0.2 <= run.cpu_seconds < run.seconds + 1
    assert run.peak is None


def test_a_failure_carries_the_words_of_the_process() -> None:
    with pytest.raises(RuntimeError, match=r"exit 3[\s\S]*no such thing"):
        measure(python("import sys; print('no such thing', file=sys.stderr); sys.exit(3)"))


def test_peak_counts_children() -> None:
    hold = HOLD.format(60_000_000)
    run = measure(
        python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"), memory=True
    )
    assert run.peak is not None
    assert 60_000_000 < run.peak < 200_000_000


def test_sides_take_turns_and_are_reset(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def reset() -> None:
        with log.open("a") as stream:
            stream.write("-")

    def side(name: str, size: int) -> Side:
        write = f"open({str(log)!r}, 'a').write({name!r}); {HOLD.format(size)}"
        return Side(name, python(write), reset)

    outcome = compare(
        "toy", side("a", 1), side("b", 50_000_000), rounds=2, quantity=PEAK, target=ratio_at_most(0.9)
    )
    assert log.read_text() == "-a-b-a-b"
    assert outcome.row.verdict == "pass"
    assert float(outcome.row.ratio) < 0.9
    assert [len(side) for side in outcome.row.measurements.values()] == [2, 2]


@pytest.mark.parametrize(
    ("target", "met"),
    [(ratio_at_most(1.2), True), (ratio_at_most(1.1), False), (left_below(13, "s"), True)],
)
def test_targets(target: Target, met: bool) -> None:
    assert target.met(12.0, 10.0) is met


def test_the_program_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("toy", "left", "right", "0.5", "≤ 1", "pass")

    def toy(rounds: int | None, folder: Path, note: object) -> list[Row]:
        assert rounds == 4
        return [row] if folder.is_dir() else []

    monkeypatch.setattr(program, "BENCHMARKS", {"toy": toy})
    monkeypatch.chdir(tmp_path)
    program.main(["toy", "--rounds", "4", "--json", "figures.json"])
    printed = capsys.readouterr().out
    assert printed.startswith(markdown([row]))
    assert "cores" in printed
    assert json.loads((tmp_path / "figures.json").read_text())["rows"][0]["name"] == "toy"
    with pytest.raises(SystemExit):
        program.main(["nothing"])


def test_images_for_the_memory_benchmark(tmp_path: Path) -> None:
    make_images(tmp_path / "raw", 120)
    files = list((tmp_path / "raw").rglob("*.png"))
    assert len(files) == len({file.read_bytes() for file in files}) == 120
    assert sum(file.name.startswith("unknown") for file in files) == 12
    assert {file.parent.name for file in files} == {"benign", "malignant"}


def test_what_is_recorded_is_on_the_page(tmp_path: Path) -> None:
    row = Row("toy", "left", "right", "0.5", "≤ 1", "pass", measurements={"left": [{"seconds": 1.5}]})
    where = {**conditions(), "date": "2026-01-02"}
    page, file = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text("Before.\n<!-- results: begin -->\nold\n<!-- results: end -->\nAfter.\n")
    for name in ("toy", "another", "toy"):
        results.write(
            results.record(results.read_results(file), name, [row], ["b: is missing"], where), file, page
        )
    text = page.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### `another`", "### `toy`"]
    assert text.count("2026-01-02") == text.count("B: is missing.") == text.count("| toy | left |") == 2
    assert json.loads(file.read_text())["toy"]["rows"][0]["measurements"] == row.measurements


def test_the_guide_shows_what_is_recorded() -> None:
    text = results.PAGE.read_text(encoding="utf-8")
    assert results.with_results(text, results.read_results()) == text
