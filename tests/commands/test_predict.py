"""`bccli predict` on runs and images as people have them."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bccli.cli import cli
from bccli.core.prediction.predictor import images_per_step
from tests.conftest import PATIENT, Bccli, draw, rows_of, save
from tests.library import Library, bccli_in
from tests.sentences import refused


@pytest.fixture(scope="module")
def root(library: Library) -> Path:
    """A folder with raw images and two complete runs: `sized` prepares to 24×24, `plain` keeps sizes."""
    return library.folder("predict", fill)


def fill(root: Path) -> None:
    for patient in range(6):
        for number in range(2):
            label = ("benign", "malignant")[patient % 2]
            save(root / "raw" / label / f"p{patient}_{number}.png", draw(patient % 2, patient * 10 + number))
    for name, size in (("sized", ("--size", "24x24", "--fit", "pad")), ("plain", ())):
        for command in (
            ("prepare", "folder", root / "raw", root / f"{name}_data", *PATIENT, "--ratios", "1/1/1", *size),
            ("train", root / f"{name}_data", root / name, "--epochs", 1, "--batch-size", 8),
        ):
            bccli_in(*command)


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(root / "sized", tmp_path / "run"))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Good and bad images in turn: bad, good, bad, good, bad."""
    folder = tmp_path / "mixed"
    save(folder / "b.png", draw(0, 1))
    save(folder / "d.png", draw(1, 2, (40, 30)))
    (folder / "a.png").write_text("no image")
    (folder / "c.png").write_bytes(b"")
    (folder / "e.png").write_bytes((folder / "b.png").read_bytes()[:200])
    return folder


ERRORS = ["not an image", "", "0 bytes", "", "truncated"]


def check_mixed(rows: list[dict]) -> None:
    """Rows of `mixed` in input order, with an answer or an error each."""
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    for row, fragment in zip(rows, ERRORS, strict=True):
        if fragment:
            assert fragment in row["error"]
            assert not row["predicted"]
            assert not row["p_benign"]
        else:
            assert not row["error"]
            assert float(row["p_benign"]) + float(row["p_malignant"]) == pytest.approx(1, abs=1e-6)
            assert float(row["probability"]) == max(float(row["p_benign"]), float(row["p_malignant"]))
            assert row["predicted"] == max(("benign", "malignant"), key=lambda name: float(row[f"p_{name}"]))


# Images


def test_blank_images_are_answered_and_counted(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    for number, pixels in enumerate((draw(0, 1), draw(1, 2) // 16, np.full((24, 24, 3), 255, np.uint8))):
        save(tmp_path / "in" / f"{number}.png", pixels)
    result = bccli("predict", run, tmp_path / "in")
    assert [row["error"] for row in rows_of(result.stdout)] == [""] * 3
    (line,) = [line for line in result.stderr.splitlines() if "blank or" in line]
    first = tmp_path / "in" / "1.png"
    assert f"2 images are blank or nearly so (the first: {first} is nearly black)" in line
    alone = bccli("predict", run, tmp_path / "in" / "2.png")
    assert f"1 image is blank or nearly so ({tmp_path / 'in' / '2.png'} is all white)" in alone.stderr
    assert "blank or" not in bccli("predict", run, tmp_path / "in" / "0.png").stderr


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_an_image_on_its_side_is_answered_as_if_it_stood(
    bccli: Bccli, run: Path, tmp_path: Path, kind: str
) -> None:
    upright = Image.fromarray(draw(0, 1, (32, 24)))
    exif = Image.Exif()
    exif[274] = 6
    options = {"quality": 100, "subsampling": 0} if kind == "jpg" else {}
    if kind == "webp":
        options = {"lossless": True}
    upright.save(tmp_path / f"a.{kind}", **options)
    upright.rotate(90, expand=True).save(tmp_path / f"b.{kind}", exif=exif, **options)
    rows = rows_of(bccli("predict", run, tmp_path / f"a.{kind}", tmp_path / f"b.{kind}").stdout)
    first, second = (float(row["p_benign"]) for row in rows)
    assert first == pytest.approx(second, abs=0.02 if kind == "jpg" else 1e-6)


def test_images_that_cannot_be_read_are_rows_with_their_error(bccli: Bccli, run: Path, mixed: Path) -> None:
    result = bccli("predict", run, mixed, exit=4)
    rows = rows_of(result.stdout)
    assert list(rows[0]) == ["path", "predicted", "probability", "p_benign", "p_malignant", "error"]
    check_mixed(rows)
    assert "3 of 5 images have no label" in result.stderr
    assert bccli("predict", run, mixed, "--skip-bad", exit=0).stdout == result.stdout


def test_the_order_is_that_of_the_input_across_batches(bccli: Bccli, run: Path, root: Path) -> None:
    images = sorted((root / "raw").rglob("*.png"), reverse=True)
    whole = rows_of(bccli("predict", run, *images).stdout)
    assert [row["path"] for row in whole] == [str(path) for path in images]
    parted = rows_of(bccli("predict", run, *images, "--batch-size", 3, "--workers", 1).stdout)
    for one, other in zip(whole, parted, strict=True):
        assert float(one["p_benign"]) == pytest.approx(float(other["p_benign"]), abs=1e-6)


@pytest.mark.parametrize(
    ("size", "patches", "expected"),
    [((224, 224), False, 8), ((96, 96), False, 32), ((160, 160), False, 15), ((700, 460), False, 8),
     ((50, 50), False, 32), ((96, 96), True, 8), ((0, 0), False, 8)],
)  # fmt: skip
def test_small_images_come_in_larger_batches(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], patches: bool, expected: int
) -> None:
    """As many as have the pixels of 8 large ones; what is cut into patches has many in each image."""
    run = SimpleNamespace(info=SimpleNamespace(size=size), preparation=SimpleNamespace(patches=patches))
    monkeypatch.setattr("bccli.core.prediction.predictor.load_run", lambda root: run)
    assert images_per_step((Path("run"),)) == expected


def test_a_missing_file_is_a_row_and_a_missing_name_is_not(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    (row,) = rows_of(bccli("predict", run, tmp_path / "gone.png", exit=4).stdout)
    assert row["error"] == "does not exist"
    refused(bccli("predict", run, exit=2), "missing", "bccli predict --help")


def test_a_folder_that_cannot_be_listed_is_a_row(
    bccli: Bccli, run: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = mixed / "c"
    save(closed / "x.png", draw(0, 1))
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("bccli.core.datasets.layout.image_files.os.scandir", refusing)
    rows = rows_of(bccli("predict", run, mixed, exit=4).stdout)
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c", "c.png", "d.png", "e.png"]
    assert rows[2]["error"]
    refused(bccli("predict", run, closed, exit=3), str(closed), "permissions")


@pytest.mark.parametrize("content", [(), ("notes.txt", ".hidden.png")])
def test_a_folder_without_images_is_refused(
    bccli: Bccli, run: Path, tmp_path: Path, content: tuple[str, ...]
) -> None:
    folder, output = tmp_path / "empty", tmp_path / "labels.csv"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("x")
    for option in ((), ("--output", output), ("--format", "json")):
        refused(bccli("predict", run, folder, *option, exit=3), str(folder), "no images", "name images")
    assert not output.exists()


def test_an_image_of_another_size_needs_a_run_with_a_size(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "large.png", draw(0, 1, (40, 30)))
    (row,) = rows_of(bccli("predict", root / "plain", image, exit=4).stdout)
    assert row["error"] == "is 40×30, and the run knows only 24×24"
    (row,) = rows_of(bccli("predict", root / "sized", image).stdout)
    assert not row["error"]


def test_paths_come_from_standard_input(bccli: Bccli, run: Path, mixed: Path) -> None:
    paths = sorted(str(path) for path in mixed.iterdir())
    for text in ("\n".join(paths), "\r\n".join([*paths, ""]), "\n\n".join(paths)):
        check_mixed(rows_of(bccli("predict", run, "-", input=text, exit=4).stdout))
    odd = mixed.rename(mixed.with_name("line\nend"))
    nul = "\0".join(sorted(str(path) for path in odd.iterdir())) + "\0"
    check_mixed(rows_of(bccli("predict", run, "-", "--null", input=nul, exit=4).stdout))
    check_mixed(rows_of(bccli("predict", run, "-", "--null", input=f"{odd}\0", exit=4).stdout))


def test_standard_input_without_paths_is_refused(bccli: Bccli, run: Path) -> None:
    for text in ("", "\n\n"):
        refused(bccli("predict", run, "-", input=text, exit=3), "standard input", "one a line")
    refused(bccli("predict", run, "-", "-", input="x.png", exit=2), "standard input", "once")


def test_names_that_no_file_can_have_are_rows(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    names = f"{tmp_path}/a.png/b.png\n{'x' * 300}.png\n"
    rows = rows_of(bccli("predict", run, "-", input=names, exit=4).stdout)
    assert [bool(row["error"]) for row in rows] == [True, True]


def test_nul_without_its_option_is_refused(bccli: Bccli, run: Path) -> None:
    refused(bccli("predict", run, "-", input="a.png\0b.png\0", exit=3), "NUL", "--null")


def test_a_name_that_is_not_utf8_keeps_its_bytes(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/pr\xe4parat.png"
    save(tmp_path / "x.png", draw(0, 1))
    os.rename(tmp_path / "x.png", path)
    for format in ("csv", "json", "jsonl", "table"):
        result = bccli("predict", run, os.fsdecode(path), "--format", format)
        if format != "table":
            assert b"/pr\xe4parat.png" in result.stdout_bytes
    bccli("predict", run, "-", "--output", tmp_path / "out.csv", input=path + b"\n")
    assert path in (tmp_path / "out.csv").read_bytes()


# Formats and output


def test_every_format_says_the_same(bccli: Bccli, run: Path, mixed: Path) -> None:
    check_mixed(json.loads(bccli("predict", run, mixed, "--format", "json", exit=4).stdout))
    lines = bccli("predict", run, mixed, "--format", "jsonl", exit=4).stdout.splitlines()
    check_mixed([json.loads(line) for line in lines])
    table = bccli("predict", run, mixed, "--format", "table", exit=4).stdout
    assert "predicted" in table
    assert "malignant" in table
    assert bccli("predict", run, mixed, exit=4).stdout == bccli(
        "predict", run, mixed, "--format", "csv", exit=4
    ).stdout  # fmt: skip
    refused(bccli("predict", run, mixed, "--format", "xml", exit=2), "--format", "'xml'")


def test_csv_has_six_significant_digits(bccli: Bccli, run: Path, mixed: Path) -> None:
    printed = rows_of(bccli("predict", run, mixed, "--format", "csv", exit=4).stdout)
    exact = json.loads(bccli("predict", run, mixed, "--format", "json", exit=4).stdout)
    for row, whole in zip(printed, exact, strict=True):
        for name in ("probability", "p_benign", "p_malignant"):
            assert row[name] == ("" if whole[name] is None else str(float(f"{whole[name]:.6g}")))
    assert any(len(str(whole["p_benign"])) > 10 for whole in exact)


def test_top_gives_ranks_instead_of_classes(bccli: Bccli, run: Path, mixed: Path) -> None:
    full = rows_of(bccli("predict", run, mixed, exit=4).stdout)
    first = rows_of(bccli("predict", run, mixed, "--top", 1, exit=4).stdout)
    assert list(first[0]) == ["path", "predicted", "probability", "error"]
    both = rows_of(bccli("predict", run, mixed, "--top", 9, exit=4).stdout)
    assert list(both[0]) == ["path", "predicted", "probability", "predicted_2", "probability_2", "error"]
    for row, whole in zip(both, full, strict=True):
        assert row["predicted"] == whole["predicted"]
        if row["predicted"]:
            assert row["probability_2"] == whole[f"p_{row['predicted_2']}"]
    refused(bccli("predict", run, mixed, "--top", 0, exit=2), "--top")


def test_an_output_file_is_whole_or_not_there(
    bccli: Bccli, run: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "labels.csv"
    printed = bccli("predict", run, mixed, exit=4).stdout
    result = bccli("predict", run, mixed, "--output", output, exit=4)
    assert result.stdout == ""
    assert output.read_text() == printed
    assert bccli("predict", run, mixed, "--output", "-", exit=4).stdout == printed

    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("bccli.core.prediction.file_predictions.to_rows", fail)
    again = "predict", run, mixed, "--output", output
    assert "labels.csv is complete; nothing to do" in bccli(*again, exit=4).stderr
    assert "5 images have no label" not in bccli(*again, "--skip-bad").stderr
    refused(bccli(*again, "--overwrite", exit=3), "out of memory", "--batch-size")
    assert output.read_text() == printed
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".labels.csv.made", "labels.csv", "mixed", "run"]


def test_an_output_file_of_something_else_is_replaced_only_where_that_is_said(
    bccli: Bccli, run: Path, mixed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "labels.csv"
    output.write_text("mine\n")
    command = "predict", run, mixed, "--output", output
    refused(bccli(*command, exit=3), str(output), "was not made by bccli predict", "--overwrite")
    assert output.read_text() == "mine\n"
    bccli(*command, "--overwrite", exit=4)
    for change, words in (
        (("--top", 1), "top none, now 1"),
        (("--format", "json"), "format csv, now json"),
        (("--tta",), "tta False, now True"),
        (("--ensemble", run), "another run"),
    ):
        refused(bccli(*command, *change, exit=3), str(output), words, "--overwrite")
    save(mixed / "f.png", draw(0, 3))
    refused(bccli(*command, exit=3), str(output), "other images")
    (mixed / "f.png").unlink()
    assert "nothing to do" in bccli(*command, "--workers", 1, "--batch-size", 3, exit=4).stderr
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "calibration": None}))
    refused(bccli(*command, exit=3), str(output), "another run, or one that has changed since")


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table"])
def test_an_output_file_has_what_stdout_has(
    bccli: Bccli, run: Path, mixed: Path, tmp_path: Path, format: str
) -> None:
    output = tmp_path / "labels"
    printed = bccli("predict", run, mixed, "--format", format, exit=4).stdout
    bccli("predict", run, mixed, "--format", format, "--output", output, exit=4)
    assert output.read_text() == printed


def test_an_output_that_cannot_be_written_is_refused(
    bccli: Bccli, run: Path, mixed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "nowhere" / "labels.csv"
    refused(bccli("predict", run, mixed, "--output", output, exit=2), str(output), "make it first")
    refused(bccli("predict", run, mixed, "--output", mixed, exit=3), str(mixed), "is a folder", "name a file")


def test_a_closed_pipe_ends_quietly(run: Path, root: Path) -> None:
    """The reader takes one line; hundreds of rows more than a pipe holds follow."""
    script = f'"{sys.executable}" -m bccli predict "$1" - --format jsonl | head -1; exit ${{PIPESTATUS[0]}}'
    images = "\n".join([str(root / "raw" / "benign" / "p0_0.png")] * 600)
    ended = subprocess.run(
        ["bash", "-c", script, "bash", run], input=images, capture_output=True, text=True, check=False
    )
    assert len(ended.stdout.splitlines()) == 1
    assert "Error" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr
    assert ended.returncode == 0


def test_an_answer_needs_none_of_the_heavy_packages(run: Path, mixed: Path) -> None:
    """Neither TensorFlow nor what reads, draws or measures elsewhere is imported for plain images."""
    script = "import sys; from bccli.cli import cli; sys.argv[0] = 'bccli'\n"
    script += "try: cli()\nexcept SystemExit: print(*sys.modules, sep='\\n', file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", script, "predict", run, mixed / "b.png", mixed / "d.png"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(rows_of(ended.stdout)) == 2
    modules = {name.partition(".")[0] for name in ended.stderr.splitlines()}
    assert "ai_edge_litert" in modules
    heavy = {"tensorflow", "keras", "pandas", "skimage", "sklearn", "scipy", "matplotlib", "cv2", "pydicom"}
    assert not modules & heavy


def test_answers_come_while_paths_still_do(run: Path, mixed: Path) -> None:
    """The reader of jsonl sees rows before the writer of paths has ended."""
    command = [sys.executable, "-m", "bccli", "predict", run, "-", "--format", "jsonl"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        process.stdin.write(f"{mixed / 'b.png'}\n" * 40)
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        assert first["path"] == str(mixed / "b.png")
        process.stdin.close()
        assert len(process.stdout.readlines()) == 39


# Views and ensembles


def probability(bccli: Bccli, run: Path, image: Path, *options: object) -> float:
    """The probability of the first class."""
    (row,) = rows_of(bccli("predict", run, image, *options).stdout)
    return float(row["p_benign"])


def test_tta_averages_flips_and_right_angles(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    pixels = draw(0, 7)
    views = [np.rot90(part, turns) for part in (pixels, pixels[:, ::-1]) for turns in range(4)]
    single = [
        probability(bccli, root / "sized", save(tmp_path / f"{number}.png", np.ascontiguousarray(view)))
        for number, view in enumerate(views)
    ]
    assert max(single) - min(single) > 1e-5
    averaged = probability(bccli, root / "sized", tmp_path / "0.png", "--tta")
    assert averaged == pytest.approx(np.mean(single), abs=1e-6)
    assert probability(bccli, root / "sized", tmp_path / "5.png", "--tta") == pytest.approx(
        averaged, abs=1e-6
    )


def test_an_ensemble_averages_runs_of_other_preparations(bccli: Bccli, root: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "x.png", draw(1, 3))
    single = [probability(bccli, root / name, image) for name in ("sized", "plain")]
    both = probability(bccli, root / "sized", image, "--ensemble", root / "plain")
    assert both == pytest.approx(np.mean(single), abs=1e-6)
    assert probability(bccli, root / "sized", image, "--ensemble", root / "sized") == pytest.approx(single[0])


def test_an_ensemble_goes_by_the_names_of_classes(
    bccli: Bccli, root: Path, run: Path, tmp_path: Path
) -> None:
    image = save(tmp_path / "x.png", draw(1, 3))
    single = probability(bccli, run, image)
    info = json.loads((run / "run.json").read_text())
    info["classes"] = ["malignant", "benign"]
    (run / "run.json").write_text(json.dumps(info))
    mixed_up = (single + 1 - single) / 2
    assert probability(bccli, root / "sized", image, "--ensemble", run) == pytest.approx(mixed_up, abs=1e-6)
    info["classes"] = ["normal", "malignant"]
    (run / "run.json").write_text(json.dumps(info))
    refused(
        bccli("predict", root / "sized", image, "--ensemble", run, exit=3),
        str(run), "normal, malignant", "the same classes",
    )  # fmt: skip
    refused(bccli("predict", run, image, "--ensemble", tmp_path / "none", exit=3), "none", "no such file")


# Images as people have them


def test_formats_names_and_folders_of_all_kinds(bccli: Bccli, run: Path, tmp_path: Path) -> None:
    """Thirty files in nested folders: each has an answer, by the order of the names."""
    names = ["ä ö ü", "with space", "line\nend", 'comma,quote"', "-dash", "日本", "a'b"]
    endings = [".png", ".jpg", ".JPEG", ".tif", ".TIFF", ".bmp", ".pgm", ".ppm"]
    for number in range(30):
        name = f"{names[number % len(names)]} {number:02}{endings[number % len(endings)]}"
        pixels = draw(number % 2, number, (20 + number, 30))
        grey = name.endswith(".pgm")
        save(tmp_path / "in" / f"folder {number % 3}" / "ü" / name, pixels[..., 0] if grey else pixels)
    rows = json.loads(bccli("predict", run, tmp_path / "in", "--format", "json").stdout)
    assert len(rows) == 30
    assert not any(row["error"] for row in rows)
    assert [row["path"] for row in rows] == sorted(str(path) for path in (tmp_path / "in").rglob("*.*"))
    piped = "\0".join(row["path"] for row in rows)
    assert rows_of(bccli("predict", run, "-", "--null", input=piped).stdout)[29]["path"] == rows[29]["path"]


def test_no_more_images_are_read_ahead_than_two_steps_need(run: Path, root: Path) -> None:
    """A million files need no more memory than sixteen."""
    from bccli.core.prediction.file_predictions import predict
    from bccli.core.prediction.predictor import load_predictor

    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield str(root / "raw" / "benign" / "p0_0.png")

    answers = predict(dataclasses.replace(load_predictor([run]), step=4), endless())
    for number in range(1, 41):
        next(answers)
        assert taken <= number + 8
    answers.close()


def test_a_gpu_answers_folders_that_are_worth_it(
    bccli: Bccli, run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only auto looks for one, and never for paths on standard input, which may come slowly."""
    from bccli.core.models import backend, runtimes

    monkeypatch.setattr(runtimes, "gpu_is_visible", lambda: True)
    monkeypatch.setattr(backend, "device_class", lambda: "gpu")
    monkeypatch.setattr(backend, "describe_device", lambda tf: "1 × Imagined")
    monkeypatch.setattr(runtimes, "_GPU_PAYS", 1e-9)
    raw = root / "raw"
    on_gpu, on_cpu = bccli("predict", run, raw), bccli("predict", run, raw, "--device", "cpu")
    piped = bccli("predict", run, "-", input=str(raw / "benign" / "p0_0.png"))
    assert "TensorFlow on 1 × Imagined" in on_gpu.stderr
    assert "LiteRT on CPU" in on_cpu.stderr
    assert "LiteRT on CPU" in piped.stderr
    for mine, theirs in zip(rows_of(on_gpu.stdout), rows_of(on_cpu.stdout), strict=True):
        assert mine["path"] == theirs["path"]
        assert float(mine["p_benign"]) == pytest.approx(float(theirs["p_benign"]), abs=1e-4)


# Runs


@pytest.mark.parametrize(
    ("harm", "fragments"),
    [
        (lambda run: shutil.rmtree(run), ("no such file or folder", "bccli train")),
        (lambda run: (run / "run.json").unlink(), ("is not a run", "bccli train")),
        (lambda run: replace(run, '"complete"', '"running"'), ("unfinished", "the same bccli train again")),
        (lambda run: replace(run, '"fit"', '"tilt"'), ("'tilt'", "update")),
        (lambda run: replace(run, '"pad"', '"squeeze"'), ("'squeeze'", "update")),
        (lambda run: replace(run, '"format": 1', '"format": 99'), ("newer bccli", "format 99", "update")),
        (lambda run: truncate(run / "run.json"), ("run.json", "not valid JSON")),
        (lambda run: replace(run, '"kind": "network"', '"kind": "sweep"'), ("is a sweep", "name one")),
        (lambda run: (run / "model.tflite").unlink(), ("model.tflite", "is missing", "copy")),
        (lambda run: truncate(run / "model.tflite"), ("model.tflite", "has changed", "copy")),
        (lambda run: change(run / "model.tflite"), ("model.tflite", "has changed", "copy")),
        (lambda run: (without_litert(run), (run / "model.keras").unlink()), ("model.keras", "is missing")),
        (lambda run: (without_litert(run), truncate(run / "model.keras")), ("model.keras", "has changed")),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    bccli: Bccli, run: Path, mixed: Path, harm: Callable[[Path], object], fragments: tuple[str, ...]
) -> None:
    harm(run)
    refused(bccli("predict", run, mixed, exit=3), *fragments)


def replace(run: Path, old: str, new: str) -> None:
    """Change run.json by hand, all of it."""
    text = (run / "run.json").read_text()
    assert old in text
    (run / "run.json").write_text(text.replace(old, new))


def truncate(path: Path) -> None:
    """Keep the first half of a file, as an interrupted copy does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def without_litert(run: Path) -> None:
    """Make a run into one whose export failed."""
    info = json.loads((run / "run.json").read_text())
    info["litert"] = {"error": "no such operation"}
    (run / "run.json").write_text(json.dumps(info))


def test_a_folder_of_runs_names_them(bccli: Bccli, root: Path, mixed: Path) -> None:
    sentence = refused(bccli("predict", root, mixed, exit=3), str(root), "name one of them")
    assert "plain, sized" in sentence


def test_a_sweep_names_the_member_that_is_best_on_val(
    bccli: Bccli, run: Path, mixed: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    for name in "ab":
        shutil.copytree(run, sweep / name)
    refused(bccli("predict", sweep, mixed, exit=3), "name one of them (a, b)")
    (sweep / "leaderboard.csv").write_text("name,val_loss,chosen\nb,0.1,True\na,0.2,False\n")
    best = f"name one of them (a, b), of which {sweep / 'b'} is the best on val"
    refused(bccli("predict", sweep, mixed, exit=3), "holds several runs", best)
    shutil.copy(run / "run.json", sweep)
    replace(sweep, '"kind": "network"', '"kind": "sweep"')
    refused(bccli("predict", sweep, mixed, exit=3), "is a sweep", best)


def test_a_terminal_is_told_that_paths_are_waited_for(
    bccli: Bccli, run: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "waiting for paths of images, one a line; Ctrl-D ends them"
    paths = f"{mixed / 'b.png'}\n".encode()
    assert told not in bccli("predict", run, "-", input=paths).stderr
    monkeypatch.setattr("bccli.commands.predict._is_typed", lambda: True)
    assert told in bccli("predict", run, "-", input=paths).stderr
    assert told not in bccli("-q", "predict", run, "-", input=paths).stderr
    assert told not in bccli("predict", run, mixed / "b.png").stderr


def test_a_run_without_a_form_for_litert_starts_tensorflow(bccli: Bccli, run: Path, root: Path) -> None:
    light = rows_of(bccli("predict", run, root / "raw").stdout)
    without_litert(run)
    result = bccli("predict", run, root / "raw")
    assert "no such operation" in result.stderr
    assert "TensorFlow on CPU" in result.stderr
    for one, other in zip(light, rows_of(result.stdout), strict=True):
        assert one["path"] == other["path"]
        assert float(one["p_benign"]) == pytest.approx(float(other["p_benign"]), abs=1e-5)


@pytest.mark.exports
def test_a_failed_export_is_said_and_stored(
    bccli: Bccli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(function: object) -> bytes:
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr("bccli.core.models.tflite_export.convert", fail)
    result = bccli("train", root / "sized_data", tmp_path / "run", "--epochs", 1, "--trainable", "none")
    assert "Warning: predict will have to start TensorFlow" in result.stderr
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["litert"] == {"error": "RuntimeError: no such operation"}
    assert not (tmp_path / "run" / "model.tflite").exists()
    assert "no such operation" in bccli("predict", tmp_path / "run", root / "raw").stderr


@pytest.mark.exports
def test_an_export_with_other_scores_is_not_kept(
    bccli: Bccli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bccli.core.models.tflite_export.TOLERANCE", -1.0)
    bccli("train", root / "sized_data", tmp_path / "run", "--epochs", 1, "--trainable", "none")
    assert "differ from Keras's" in json.loads((tmp_path / "run" / "run.json").read_text())["litert"]["error"]
    assert not list((tmp_path / "run").glob("*.tflite"))


def test_a_gpu_that_is_not_there_is_refused(bccli: Bccli, run: Path, mixed: Path) -> None:
    refused(bccli("predict", run, mixed, "--device", "gpu", exit=3), "--device gpu", "--device cpu")


def test_a_run_is_not_changed_by_predicting(bccli: Bccli, run: Path, mixed: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")}
    bccli("predict", run, mixed, exit=4)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")} == before


def test_predict_gets_the_pixels_that_prepare_wrote(root: Path, tmp_path: Path) -> None:
    """For every --fit: the raw image prepared anew is the file in the prepared dataset."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.imaging.formats.decoding import decode
    from bccli.core.imaging.preparation import prepare_image

    raw = tmp_path / "raw"
    for number in range(4):
        save(raw / "ab"[number % 2] / f"{number}.png", draw(0, number, (30 + number, 17)))
        deep = np.random.default_rng(number).integers(900, 3000, (33, 20)).astype(np.uint16)
        save(raw / "ab"[number % 2] / f"{number}.tif", deep)
    for fit in ("stretch", "pad", "crop"):
        data = tmp_path / fit
        command = "prepare", "folder", raw, data, "--size", "24x22", "--fit", fit, "--ratios", "1/0/0"
        assert CliRunner().invoke(cli, [str(part) for part in command]).exit_code == 0
        dataset = load_dataset(data)
        assert len(dataset.samples) == 8
        for sample in dataset.samples:
            written = decode(data / sample.path)
            (anew,) = prepare_image(decode(raw / sample.source), dataset.preparation).patches
            assert (written == anew.image).all()


def test_rows_are_written_as_they_are_answered() -> None:
    """Nothing is collected: the first row leaves before the second image is looked at."""
    from bccli.terminal.console import WRITERS

    seen: list[int] = []

    def rows():  # type: ignore[no-untyped-def]
        for number in range(2):
            seen.append(len(stream.getvalue()))
            yield {"path": str(number)}

    for format in ("csv", "jsonl"):
        stream = io.StringIO()
        seen.clear()
        WRITERS[format](rows(), stream, "")
        assert seen[1] > 0
