"""`bccli evaluate --report`: one page of every kind of run and of anybody's predictions."""

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bccli.cli import cli
from bccli.core.evaluation.evaluate import evaluate
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.album import Album
from bccli.core.evaluation.report.galleries import galleries
from bccli.core.evaluation.report.gather import Wishes, gather
from bccli.core.evaluation.report.run_data import Library as DataLibrary
from bccli.core.evaluation.subjects import subject_of_run
from bccli.core.evaluation.terms import Terms
from bccli.core.runs.run_folder import load_run
from bccli.terminal import pages
from bccli.terminal.report.page import render
from tests import browser
from tests.commands import test_folds
from tests.conftest import PATIENT, Bccli, draw, save
from tests.html_pages import Page
from tests.library import Library, bccli_in
from tests.sentences import refused
from tests.test_cli import RUN, modules_after

SECTIONS = (
    "What this is, and what it is not", "Model card", "The result in words", "Figures", "Strata", "Leakage",
    "Images", "Curves", "Calibration", "Patient by patient", "Features", "The paper's figures",
    "With more patients",
)  # fmt: skip
HEAVY = {"tensorflow", "keras", "pandas", "sklearn", "skimage", "matplotlib", "scipy"}
FEW = "--bootstrap", 60
HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a'b\"c&amp;d", "\u202etxt.exe",
    "{{ 7*7 }}",     "x\x1b[31mred", "</svg></style><style>*{display:none}", "]]><!--",
)  # fmt: skip


def write_table(
    path: Path,
    *,
    classes: Sequence[str] = ("benign", "malignant"),
    patients: int = 12,
    rows: int = 120,
    columns: Sequence[str] = (),
    name: Callable[[int], str] = "img/{:05}.png".format,
    owner: Callable[[int], str] = "P{:03}".format,
) -> Path:
    """A table of predictions, mostly right, with a quarter of the rows in val; further `columns` cycle."""
    source = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "split", "patient", "label", *(f"p_{name}" for name in classes), *columns])
        for index in range(rows):
            patient = index % max(patients, 1)
            label = patient % len(classes)
            scores = source.normal(0, 1, len(classes))
            scores[label] += 1.5
            shares = np.exp(scores) / np.exp(scores).sum()
            cells = [f"{share:.6f}" for share in shares]
            split = "val" if index // max(patients, 1) % 4 == 0 else "test"
            further = [f"{column} {index % 3}" for column in columns]
            whose = owner(patient) if patients else ""
            writer.writerow([name(index), split, whose, classes[label], *cells, *further])
    return path


def page_of(path: Path) -> Page:
    """A report without any fault that a page may have."""
    page = Page(path.read_text("utf-8"))
    assert list(page.problems()) == []
    return page


def report_on(bccli: Bccli, *words: object, **options: object) -> Page:
    """The report of a call, from a file that is removed."""
    path = Path(str(words[0])).parent / "report.html"
    bccli("evaluate", *words, *(() if "--bootstrap" in words else FEW), "--report", path, **options)
    assert path.stat().st_size < 5_000_000
    page = page_of(path)
    path.unlink()
    return page


def headings(page: Page) -> list[str]:
    return [element.text for element in page.elements if re.fullmatch("h[1-4]", element.tag)]


def test_a_table_has_every_section(bccli: Bccli, tmp_path: Path) -> None:
    page = report_on(bccli, write_table(tmp_path / "t.csv", columns=["site"]), "--by", "site")
    assert [text for text in headings(page) if text in SECTIONS] == list(SECTIONS)
    assert page.of("h1")[0].text == f"Report on {tmp_path / 't.csv'} test"
    assert "Not a medical device" in page.text
    assert "site site 1" in page.text
    assert "A table of predictions does not say where its images lie." in page.text
    assert f"bccli evaluate {tmp_path / 't.csv'} --bootstrap 60 --by site --report" in page.text
    assert not page.of("img")
    assert "It shows images of patients" not in page.text


def test_a_report_changes_nothing_else(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    plain = bccli("evaluate", table, *FEW, "--format", "json")
    beside = bccli(
        "evaluate",
        table,
        *FEW,
        "--format",
        "json",
        "--report",
        tmp_path / "r.html",
        "--output",
        tmp_path / "o",
    )
    assert beside.stdout == plain.stdout
    assert (tmp_path / "r.html").is_file()
    assert (tmp_path / "o" / "figures.json").is_file()


def test_the_same_call_writes_the_same_bytes(bccli: Bccli, tmp_path: Path) -> None:
    words = "evaluate", write_table(tmp_path / "t.csv"), *FEW, "--report", tmp_path / "r.html"
    bccli(*words)
    first = (tmp_path / "r.html").read_bytes()
    bccli(*words)
    assert (tmp_path / "r.html").read_bytes() == first
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["r.html", "t.csv"]


def test_the_result_is_said_in_a_sentence(bccli: Bccli, tmp_path: Path) -> None:
    page = report_on(bccli, write_table(tmp_path / "t.csv"))
    (sentence,) = [element.text for element in page.of("p") if element.text.startswith("Of 84 images")]
    assert re.search(r"of test from 12 patients, .* classifies \d+ right", sentence)
    for words in ("95 % interval", "malignant it finds", "ROC curve is", "most frequent class alone"):
        assert words in sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: re.sub(r"P0\d\d", "", text), "Patients are unknown."),
        (lambda text: _without_probabilities(text), "Without probabilities nobody knows how sure"),
        (lambda text: _without_probabilities(text), "Without probabilities there is one operating point"),
        (lambda text: _without_probabilities(text), "Without probabilities there is nothing to calibrate"),
        (lambda text: re.sub(r"P0\d\d", "P1", text), "There is no interval to begin with: only 1 patient"),
        (lambda text: text.replace(",malignant,", ",benign,"), "All images are of one class"),
    ],
)
def test_what_does_not_apply_says_why(
    bccli: Bccli, tmp_path: Path, change: Callable[[str], str], sentence: str
) -> None:
    table = write_table(tmp_path / "t.csv")
    table.write_text(change(table.read_text()))
    assert sentence in report_on(bccli, table).text


def _without_probabilities(text: str) -> str:
    header, *rows = csv.reader(text.splitlines())
    lines = [
        [*header[:4], "predicted"],
        *([*row[:4], "malignant" if float(row[5]) > 0.5 else "benign"] for row in rows),
    ]
    return "\n".join(",".join(line) for line in lines)


def test_galleries_begin_with_what_is_surest(bccli: Bccli, tmp_path: Path) -> None:
    page = report_on(bccli, write_table(tmp_path / "t.csv", rows=400))
    found = [
        re.search(r"truly (\w+).*said to be (\w+), ([\d.]+)", element.text, re.DOTALL)
        for element in page.of("figcaption")
    ]
    shown = [(match[1], match[2], float(match[3])) for match in found if match]
    mistakes, doubts, hits = shown[:8], shown[8:16], shown[16:]
    assert all(truth != said for truth, said, _ in mistakes)
    assert all(truth == said for truth, said, _ in hits)
    for rows, falling in ((mistakes, True), (doubts, False), (hits, True)):
        assert len(rows) == 8
        values = [value for _, _, value in rows]
        assert values == sorted(values, reverse=falling)
    assert doubts[0][2] < 0.52


@pytest.mark.parametrize(
    "words",
    [
        ("--level", "patient"),
        ("--threshold", "youden"),
        ("--threshold", "0.3", "--positive", "benign"),
        ("--split", "val"),
        ("--calibrate", "--by", "site"),
    ],
)
def test_a_report_is_on_what_was_asked_for(bccli: Bccli, tmp_path: Path, words: Sequence[str]) -> None:
    page = report_on(bccli, write_table(tmp_path / "t.csv", columns=["site"]), *words)
    for word in words:
        assert word in page.text
    assert [text for text in headings(page) if text in SECTIONS] == list(SECTIONS)


@pytest.mark.parametrize("classes", [("a", "b", "c"), tuple(f"class {number}" for number in range(9))])
def test_several_classes(bccli: Bccli, tmp_path: Path, classes: Sequence[str]) -> None:
    page = report_on(bccli, write_table(tmp_path / "t.csv", classes=classes, patients=27))
    assert "The share of the predicted class" in page.text
    curves = [
        element for element in page.of("path") if element.attributes.get("class", "").startswith("line k")
    ]
    assert len(curves) > 2 * min(len(classes), 7)
    assert ("Of 2 more classes" in page.text) == (len(classes) == 9)


def test_several_tables_are_one_report(bccli: Bccli, tmp_path: Path) -> None:
    tables = [
        write_table(tmp_path / f"{name}.csv", rows=rows) for name, rows in (("a", 120), ("b", 80), ("c", 60))
    ]
    page = report_on(bccli, *tables)
    assert page.of("h1")[0].text == "Report on 3 classifiers"
    assert headings(page).count("Model card") == 3
    outer = [
        element for element in page.of("details") if re.fullmatch(r"r\d", element.attributes.get("id", ""))
    ]
    assert len(outer) == 3
    two = report_on(bccli, *tables[:2])
    assert "The first less the second" in two.text
    assert "common cases" in two.text


def test_many_runs_and_strata_stay_small(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", rows=600, columns=["site"])
    text = table.read_text().splitlines()
    lines = [
        text[0],
        *(re.sub(r"site \d$", f"site {number // 4}", line) for number, line in enumerate(text[1:])),
    ]
    table.write_text("\n".join(lines))
    page = report_on(bccli, table, "--by", "site", "--bootstrap", 0)
    assert re.search(r"The first 50 of 1\d\d strata\.", page.text)
    tables = [shutil.copy(table, tmp_path / f"{number}.csv") for number in range(15)]
    page = report_on(bccli, *tables, "--bootstrap", 0)
    assert "The other 5 runs are in the table of all runs alone" in page.text
    assert headings(page).count("Model card") == 10


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_table_says_stays_text(bccli: Bccli, tmp_path: Path, text: str) -> None:
    table = write_table(
        tmp_path / "t.csv", classes=(f"a {text}", f"b {text}"), columns=["site"],
        name=lambda index: f"{index} {text}", owner=lambda patient: f"{patient} {text}",
    )  # fmt: skip
    table.write_text(table.read_text().replace("site 1", f"site {text}".replace('"', '""').join('""')))
    page = report_on(bccli, table, "--by", "site")
    assert not page.of("img")
    assert "49" not in page.of("h1")[0].text
    shown = pages._shown(text)
    for words in (f"patient 1 {shown}", f"truly a {shown}", f"site {shown}"):
        assert words in page.text, words
    assert not {"\x1b", "\u202e"} & set(page.text)


def test_what_is_endless_is_cut(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.csv", classes=("a", "b" * 100_000), owner=lambda patient: f"{patient}" + "_x" * 50_000,
        name=lambda index: f"{index}" + "/y" * 50_000, rows=40, patients=10,
    )  # fmt: skip
    report_on(bccli, table)
    many = write_table(tmp_path / "m.csv", classes=[f"class {number}" for number in range(300)], rows=400)
    assert "The confusions of so many classes" in report_on(bccli, many, "--bootstrap", 0).text


def test_a_name_of_a_file_stays_text(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "<b>\"x' \u202e&amp;.csv")
    page = report_on(bccli, table)
    assert not page.of("b")
    assert "<b>\"x' \\u202e&amp;.csv" in page.text


def test_what_is_no_report_stays(bccli: Bccli, tmp_path: Path) -> None:
    table, path = write_table(tmp_path / "t.csv"), tmp_path / "mine.html"
    path.write_text("<!doctype html><p>mine</p>")
    refused(bccli("evaluate", table, "--report", path, exit=3), "no report of bccli", "another file")
    assert path.read_text() == "<!doctype html><p>mine</p>"
    refused(bccli("evaluate", table, "--report", table, exit=3), "no report of bccli")
    refused(bccli("evaluate", table, "--report", tmp_path, exit=3), "is a folder")
    missing = tmp_path / "none" / "r.html"
    refused(bccli("evaluate", table, "--report", missing, exit=3), f"there is no folder {missing.parent}")
    refused(bccli("evaluate", table, "--without-images", exit=2), "--report")
    refused(bccli("evaluate", tmp_path, "--audit", "--report", path, exit=2), "--audit prints none")


def test_a_report_that_fails_leaves_the_old_one(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "evaluate", write_table(tmp_path / "t.csv"), *FEW, "--report", tmp_path / "r.html"
    bccli(*words)
    before = (tmp_path / "r.html").read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    bccli(*words, exit=3)
    assert (tmp_path / "r.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "t.csv"]


def test_a_report_goes_through_to_what_is_no_file(bccli: Bccli, tmp_path: Path) -> None:
    assert bccli("evaluate", write_table(tmp_path / "t.csv"), "--report", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


def test_a_report_starts_nothing_heavy(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    plain = modules_after(RUN, ["evaluate", table])
    assert not plain & {"jinja2", "matplotlib"}
    reported = modules_after(RUN, ["evaluate", table, "--report", tmp_path / "r.html"])
    assert not reported & {
        "tensorflow",
        "keras",
        "pandas",
        "sklearn",
        "skimage",
        "matplotlib",
        "scipy",
        "cv2",
    }


# Of strata


def table_called(page: Page, words: str) -> list[list[str]]:
    """The cells of the only table whose caption has these words, row by row."""
    (at,) = [number for number, found in enumerate(page.elements)
             if found.tag == "table" and words in found.text]  # fmt: skip
    rows: list[list[str]] = []
    for element in page.elements[at + 1 :]:
        if element.tag == "table":
            break
        if element.tag == "tr":
            rows.append([])
        elif element.tag in ("th", "td"):
            rows[-1].append(element.text.strip())
    return rows


def test_strata_that_were_asked_for_have_figures_plots_and_tests(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", columns=["site"], rows=480, patients=40)
    page = report_on(bccli, table, "--by", "site")
    header, whole, *rows = table_called(page, "Strata: dots are estimates")
    assert header == [
        "stratum", "n", "patients", "malignant", "accuracy", "sensitivity", "plot of sensitivity",
        "specificity", "plot of specificity", "AUC",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["site site 0", "site site 1", "site site 2"]
    assert sum(int(row[1]) for row in rows) == int(whole[1])
    assert all(re.fullmatch(r"\d\.\d{3} \(\d\.\d\d–\d\.\d\d\)", row[4]) for row in rows)
    _, *tests = table_called(page, "Whether strata of site differ")
    assert [row[0] for row in tests] == ["accuracy", "sensitivity", "specificity"]
    found = json.loads(bccli("evaluate", table, *FEW, "--by", "site", "--format", "json").stdout)["runs"]
    assert [row[1] for row in tests] == [f"{found[0]['heterogeneity'][row[0]]['p']:.4f}" for row in tests]
    for row, figures in zip(rows, found[1:], strict=True):
        assert row[5].startswith(f"{figures['tpr']:.3f} ({figures['ci']['tpr'][0]:.2f}–")
        assert row[3].startswith(str(sum(figures["confusion_matrix"][1])))
    assert "3 tests were made" in page.text
    assert "compared with 0.017" in page.text
    assert "*" not in "".join(cell for row in tests for cell in row)
    assert "differences among groups" not in page.text.partition("No threshold and no sets")[2]


def test_columns_that_nobody_asked_for_are_described_and_not_tested(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", columns=["site", "density"], rows=480, patients=40)
    lines = table.read_text().splitlines()
    ages = [f"{line},{20 + number % 70},e{number},one" for number, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},age,exam,maker", *ages]))
    page = report_on(bccli, table)
    _, _, *rows = table_called(page, "Strata: dots are estimates")
    names = [row[0] for row in rows]
    assert names[:6] == [
        f"{column} {column} {number}" for column in ("site", "density") for number in range(3)
    ]
    assert names[6:] == [f"age {band}" for band in ("below 40", "40–49", "50–59", "60–69", "70 and over")]
    assert "Not shown: exam (too many values); maker (one value)." in page.text
    assert "no test was made" in page.text
    assert "tests were made" not in page.text
    (count,) = re.findall(r"Of (\d+) intervals of 95 %, about \d+ will miss", page.text)
    assert int(count) == sum("–" in cell for row in rows for cell in row[4:])
    asked = report_on(bccli, table, "--by", "site")
    _, _, *same = table_called(asked, "Strata: dots are estimates")
    assert [row[5] for row in same] == [row[4] for row in rows[:3]]


def test_nobody_is_named_among_strata_that_nobody_asked_for(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", columns=["site", "PatientName", "HospitalNumber"], patients=10)
    page = report_on(bccli, table)
    assert "site site 1" in page.text
    assert "PatientName 1" not in page.text
    assert "HospitalNumber 1" not in page.text


def test_strata_of_several_classes_say_how_many_each_has(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", classes=("a", "b", "c"), columns=["site"], patients=27)
    header, whole, *rows = table_called(report_on(bccli, table), "Strata: dots are estimates")
    assert header[3:6] == ["a", "b", "c"]
    assert [sum(int(cell.split(" ")[0]) for cell in row[3:6]) for row in (whole, *rows)] == [
        int(row[1]) for row in (whole, *rows)
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "no column by which their images could be told apart"),
     (("--by", "patient_site"), "too few patients or groups to tell")],
)  # fmt: skip
def test_strata_that_say_nothing_say_so(
    bccli: Bccli, tmp_path: Path, words: Sequence[str], said: str
) -> None:
    table = write_table(tmp_path / "t.csv", columns=["patient_site"] if words else [], patients=3)
    assert said in report_on(bccli, table, *words).text


@pytest.mark.parametrize("level", ["image", "patient"])
@pytest.mark.parametrize("by", [(), ("--by", "site")])
def test_strata_without_patients_probabilities_or_intervals(
    bccli: Bccli, tmp_path: Path, level: str, by: Sequence[str]
) -> None:
    table = write_table(tmp_path / "t.csv", columns=["site"])
    text = table.read_text()
    page = report_on(bccli, table, *by, "--level", level, "--bootstrap", 0)
    assert "intervals of 95 %, about" not in page.text
    if level == "image":
        table.write_text(re.sub(r"P0\d\d", "", text))
        _, whole, *_ = table_called(report_on(bccli, table, *by), "Strata: dots are estimates")
        assert whole[2] == "unknown"


# Of runs


def fill(root: Path) -> None:
    """Images of twelve patients, some with hostile names; data with leaks and contradictions; runs."""
    for patient in range(12):
        label = ("benign", "<i>malignant")[patient % 2]
        for number in range(3):
            name = f'p{patient}_{number}"><b>&.png' if number == 2 else f"p{patient}_{number}.png"
            save(root / "raw" / label / name, draw(patient % 2, patient * 10 + number))
    save(root / "raw" / "benign" / "p0_9.png", draw(1, 11))  # a picture of p1, which is malignant
    bccli_in("prepare", "folder", root / "raw", root / "data", *PATIENT, "--ratios", "2/1/1")
    shutil.copytree(root / "data", root / "leaking")
    _deal_out(root / "leaking" / "manifest.csv")
    head = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    bccli_in("train", root / "data", root / "run", *head)
    bccli_in("train", root / "leaking", root / "leaked", *head, "--allow-leakage")


def _deal_out(manifest: Path) -> None:
    """Deal out the images of a manifest one by one, so that patients and pictures cross splits."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row["split"] = ("train", "test", "val", "train")[number % 4]
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def place(library: Library, tmp_path: Path) -> Path:
    """Raw images, data and runs of one's own."""
    return library.copy("report", fill, tmp_path / "place")


def test_a_run_shows_its_images(bccli: Bccli, place: Path) -> None:
    page = report_on(bccli, place / "run")
    images = page.of("img")
    assert images
    assert all(image.attributes["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert all(
        "truly" in image.attributes["alt"] or "labelled" in image.attributes["alt"] for image in images
    )
    assert not page.of("b")
    assert not page.of("i")
    for words in ("Surest mistakes", "Most doubtful", "Surest hits", "said to be", "patient p",
                  f"bccli train {place / 'data'} OUT --recipe {place / 'run' / 'recipe.toml'}", "prepared",
                  f"bccli prepare folder SOURCE {place / 'data'}", "keras", "It shows images of patients",
                  "one picture under two labels", "Contradictory labels"):  # fmt: skip
        assert words in page.text, words


def test_a_report_on_a_run_starts_nothing_heavy(place: Path) -> None:
    reported = modules_after(RUN, ["evaluate", place / "leaked", "--report", place / "r.html"])
    assert not reported & HEAVY
    assert (place / "r.html").is_file()


def test_without_images_there_is_none(bccli: Bccli, place: Path) -> None:
    page = report_on(bccli, place / "run", "--without-images")
    assert not page.of("img")
    assert "It was written without any picture" in page.text
    assert "Surest mistakes" in page.text


def test_what_crosses_splits_is_shown_in_pairs(bccli: Bccli, place: Path) -> None:
    page = report_on(bccli, place / "leaked")
    assert re.search(r"test shares \d+ patients?", page.text)
    pairs = [element for element in page.of("div") if element.attributes.get("class") == "pair"]
    assert any("the same pixels" in pair.text for pair in pairs)


@pytest.mark.exports
def test_what_prepare_left_out_is_a_flow(bccli: Bccli, place: Path) -> None:
    (place / "raw" / "benign" / "p0_bad.png").write_bytes(b"no picture")
    raw, data = place / "raw", place / "without"
    words = *PATIENT, "--ratios", "2/1/1", "--conflicts", "drop", "--skip-bad"
    bccli("prepare", "folder", raw, data, *words)
    head = "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    bccli("train", data, place / "clean", *head)
    page = report_on(bccli, place / "clean")
    steps = [element.text for element in page.of("li") if re.match(r"(− )?\d+ ", element.text)]
    assert steps[:4] == [
        "38 images found in the source",
        "− 1 could not be read",
        "− 2 showed one picture under several labels",
        steps[3],
    ]
    assert steps[3].startswith("35 images prepared (train ")
    command = next(element.text for element in page.of("code") if element.text.startswith("bccli prepare"))
    _, _, dataset, _, _, *options = shlex.split(command)
    bccli("prepare", dataset, raw, place / "again", *options, "--skip-bad")
    assert (place / "again" / "manifest.csv").read_bytes() == (data / "manifest.csv").read_bytes()


def test_a_papers_figures_stand_beside_those_measured(
    bccli: Bccli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "measure": "accuracy",
        "paper": 0.875,
        "measured": 0.5,
        "n": 21,
        "where": "table 3",
        "remark": "<i>",
    }
    monkeypatch.setattr("bccli.core.evaluation.evaluate.beside", lambda figures, info: [row])
    page = report_on(bccli, place / "run")
    (table,) = [element for element in page.of("table") if "What the paper printed" in element.text]
    assert "table 3" in table.text
    assert "0.8750" in table.text


def test_overlays_stand_beside_images(place: Path) -> None:
    run = load_run(place / "run")
    asked: list[tuple[tuple[int, ...], int]] = []

    def overlay(pixels: np.ndarray, number: int) -> np.ndarray | None:
        asked.append((pixels.shape, number))
        return 255 - pixels if number == asked[0][1] else None

    entry = evaluate(subject_of_run(run, "test"), Terms(rounds=0))
    found = galleries(entry, DataLibrary().of(run), Album(), overlay=overlay)
    assert not isinstance(found, Absent)
    shown = [one for gallery in found for one in gallery.exhibits]
    assert len(shown) == len(asked)
    assert {shape for shape, _ in asked} == {(24, 24, 3)}
    assert [one.overlay is not None for one in shown] == [number == asked[0][1] for _, number in asked]
    assert any(one.overlay for one in shown)
    report = gather([entry], Wishes(("bccli",)))
    report = replace(report, parts=(replace(report.parts[0], galleries=found),))
    page = Page(render(report, None))
    assert list(page.problems()) == []
    assert any(image.attributes["alt"].startswith("Where the network looked") for image in page.of("img"))
    without = gather([entry], Wishes(("bccli",), pictures=False))
    assert "data:image" not in render(without, None)


def test_images_that_cannot_be_reached_are_said(bccli: Bccli, place: Path) -> None:
    (place / "data").rename(place / "elsewhere")
    page = report_on(bccli, place / "run")
    assert not page.of("img")
    assert "The images of this run cannot be reached" in page.text
    beside = report_on(bccli, place / "run", "--data", place / "elsewhere", "--device", "cpu")
    assert beside.of("img")


def test_images_that_have_changed_are_not_shown(bccli: Bccli, place: Path) -> None:
    manifest = place / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",train,", ",val,", 1))
    page = report_on(bccli, place / "run")
    assert not page.of("img")
    assert "has changed since it was trained" in page.text


def test_an_image_that_cannot_be_read_is_named(bccli: Bccli, place: Path) -> None:
    for path in (place / "data" / "images").rglob("*.png"):
        path.write_bytes(b"no picture")
    page = report_on(bccli, place / "run")
    assert "Images that could not be read: images/" in page.text


def test_features_are_shown_where_they_are_stored(bccli: Bccli, place: Path) -> None:
    page = report_on(bccli, place / "run")
    assert "What the frozen backbone makes of the images" in page.text
    assert "Features by patient" in page.text
    (store,) = (place / "data" / ".cache" / "features").iterdir()
    for chunk in store.glob("*.npy"):
        chunk.write_bytes(chunk.read_bytes()[:200])
    (store / "0.npy").touch()
    assert "No features of cnn-15 are stored" in report_on(bccli, place / "run").text


KINDS = ["run", "tree", "fused", *(pytest.param(name, marks=pytest.mark.slow) for name in ("svm", "tuned"))]


@pytest.fixture
def folds(library: Library) -> Callable[[str], Path]:
    """Finds runs of all folds, see `test_folds`."""

    def find(name: str) -> Path:
        if name not in test_folds.COMMANDS:
            return library.folder("folds", test_folds.fill) / name
        words = test_folds.command
        root = library.folder(f"folds-{name}", lambda folder: bccli_in(*words(find, name, folder / name)))
        return root / name

    return find


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", ["", "fold-0"])
def test_every_kind_of_run_has_a_report(
    bccli: Bccli, folds: Callable[[str], Path], tmp_path: Path, name: str, part: str
) -> None:
    path = tmp_path / "r.html"
    bccli("evaluate", folds(name) / part, *FEW, "--report", path)
    page = page_of(path)
    assert [text for text in headings(page) if text in SECTIONS] == list(SECTIONS)
    assert page.of("img")
    calls = [shlex.split(element.text) for element in page.of("code") if element.text.startswith("bccli")]
    (words,) = [words for words in calls if words[1] in ("train", "finetune", "hierarchy")]
    above = cli.make_context("bccli", words[1:])
    params = cli.commands[words[1]].make_context(words[1], words[2:], parent=above).params
    assert Path(params["data"]).is_dir()


@pytest.mark.exports
def test_a_sweep_has_a_report(bccli: Bccli, place: Path) -> None:
    words = "--backbone", "cnn-15", "--seeds", 2, "--epochs", 1, "--batch-size", 8, "--trainable", "none"
    bccli("train", place / "data", place / "sweep", *words)
    page = report_on(bccli, place / "sweep")
    assert page.of("h1")[0].text == "Report on 2 classifiers"
    assert "which has the same data" in page.text


# Of how it is seen

SCREENS = [(dark, width) for dark in (False, True) for width in (375, 1280)]


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("kind", ["run", "run without images", "two tables", "hostile"])
def test_a_browser_finds_nothing_amiss(bccli: Bccli, place: Path, kind: str) -> None:
    path = place / "report.html"
    words = {
        "run": [place / "leaked"],
        "run without images": [place / "run", "--without-images"],
        "two tables": [
            write_table(place / "a.csv", columns=["site"]),
            write_table(place / "b.csv", rows=90, columns=["site"]),
            "--by",
            "site",
        ],
        "hostile": [
            write_table(place / "c.csv", classes=HOSTILE[:3], owner=lambda number: HOSTILE[number % 8])
        ],
    }[kind]
    bccli("evaluate", *words, *FEW, "--report", path)
    with browser.opened(place / "profile") as tab:
        for dark, width in SCREENS:
            tab.open(path, dark=dark, width=width)
            tab.open_details()
            assert tab.complaints() == []
            assert tab.requests() == [path.as_uri()]
            assert tab.value("document.documentElement.scrollWidth") <= width
            if browser.AXE.is_file():
                assert tab.violations() == []


@pytest.mark.slow
@pytest.mark.skipif(
    browser.CHROMIUM is None or not browser.AXE.is_file(), reason="there is no Chromium or axe-core"
)
def test_the_browser_would_find_what_is_amiss(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    faults = "<img src='data:,'><p style='color:#999;background:#aaa'>pale</p><script>absent()</script>"
    path.write_text(f"<!doctype html><title>t</title><body><img src='https://a.invalid/b.png'>{faults}")
    with browser.opened(tmp_path / "profile") as tab:
        tab.open(path)
        assert any("absent is not defined" in words for words in tab.complaints())
        assert "https://a.invalid/b.png" in tab.requests()
        found = {line.partition(":")[0] for line in tab.violations()}
        assert {"image-alt", "color-contrast", "html-has-lang"} <= found
