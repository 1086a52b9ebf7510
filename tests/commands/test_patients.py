"""Who the patients are: spellings of ids, expressions for paths, lists, and what `prepare` suggests."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.patients import Spellings, known_patient, plain_number
from tests.conftest import PATIENT, Bccli, draw, read_rows, save
from tests.sentences import refused


def patients_of(data: Path) -> dict[str, str]:
    """The patient of each image by its source."""
    return {row["source"]: row["patient"] for row in read_rows(data / "manifest.csv")}


def fill(root: Path, names: dict[str, int]) -> None:
    """An image for each path, of a class that is numbered."""
    for seed, (name, label) in enumerate(names.items()):
        save(root / name, draw(label, seed))


# Spellings


@given(st.integers(0, 10**12), st.integers(0, 4), st.integers(0, 3))
def test_all_spellings_of_a_whole_number_are_one(number: int, zeros: int, decimals: int) -> None:
    text = "0" * zeros + str(number) + ("." + "0" * decimals if decimals else "")
    assert plain_number(text) == str(number)


@given(st.text(max_size=8))
def test_an_id_stands_for_itself_once_it_is_plain(text: str) -> None:
    assert plain_number(plain_number(text)) == plain_number(text)
    assert known_patient(known_patient(text)) == known_patient(text)


@pytest.mark.parametrize("text", ["7.5", "P007", "1e3", "-7", "0x10", "7.", ".0", "7 8", "٧"])
def test_what_is_no_whole_number_stays_as_it_is(text: str) -> None:
    assert plain_number(text) == text


def test_the_first_spelling_is_kept_and_each_other_one_told_once() -> None:
    told: list[tuple[str, str]] = []
    spellings = Spellings(lambda other, first: told.append((other, first)))
    assert [spellings.first(text) for text in ("007", "7.0", " 7", "7", "nan", "8")] == ["007"] * 4 + [
        "",
        "8",
    ]
    assert told == [("7.0", "007"), ("7", "007")]


@pytest.mark.parametrize(("one", "other"), [("7", "7.0"), ("7", "007"), ("007", "7.00"), ("0", "0.0")])
def test_numbers_that_differ_in_spelling_are_one_patient(
    bccli: Bccli, tmp_path: Path, one: str, other: str
) -> None:
    rows = ["path,label,patient"]
    for label, name in enumerate(("benign", "malignant")):
        for patient in (one, other, f"{label + 1}1", f"{label + 1}2", f"{label + 1}3"):
            for number in range(2):
                path = f"{name}_{patient}_{number}.png"
                save(tmp_path / path, draw(label, len(rows)))
                rows.append(f"{path},{name},{patient}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    result = bccli("prepare", "csv", tmp_path / "table.csv", tmp_path / "data", "--test-patients", other)
    assert f"were taken for one patient's: 1 ({other} as {one})" in result.stderr
    found = read_rows(tmp_path / "data" / "manifest.csv")
    assert {row["patient"] for row in found if row["split"] == "test"} == {one}
    assert sum(row["patient"] == one for row in found) == 8


def test_tables_of_other_tools_know_spellings_too(bccli: Bccli, tmp_path: Path) -> None:
    rows = [f"{place}.png,test,{patient},{label},{label}" for place, (patient, label) in enumerate(
        [("7", "a"), ("7.0", "a"), ("8", "b"), ("008", "b"), ("nan", "a"), ("NA", "b")])]  # fmt: skip
    (tmp_path / "table.csv").write_text("\n".join(["path,split,patient,label,predicted", *rows]))
    result = bccli("evaluate", tmp_path / "table.csv", "--format", "csv", "--level", "patient")
    (row,) = [line.split(",") for line in result.stdout.splitlines()[1:]]
    header = result.stdout.splitlines()[0].split(",")
    assert row[header.index("n")] == "4"


# Expressions


def test_an_expression_that_finds_nothing_names_a_path(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", "--patient-regex", r"case(\d+)"
    refused(bccli(*command, exit=2), r"'case(\\d+)'", "'benign/p0_0.png'")
    refused(bccli(*command, "--dry-run", exit=2), "'benign/p0_0.png'")
    assert not (tmp_path / "data" / "manifest.csv").exists()


def test_an_expression_that_misses_some_paths_names_the_first(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    result = bccli("prepare", "folder", raw, tmp_path / "data", "--patient-regex", r"/(p[0-4])_")
    assert "--patient-regex finds none in their paths: 4 (malignant/p5_0.png" in result.stderr
    assert patients_of(tmp_path / "data")["malignant/p5_0.png"] == ""


@pytest.mark.parametrize("expression", [r"/(?:x(\d)|p(\d))_", r"(?<=/)p\d", r"/(?P<patient>p\d)_"])
def test_a_group_is_the_patient_or_else_the_match(
    bccli: Bccli, make_folder: Any, tmp_path: Path, expression: str
) -> None:
    bccli("prepare", "folder", make_folder(), tmp_path / "data", "--patient-regex", expression)
    assert len(set(patients_of(tmp_path / "data").values())) == 6


# Lists


@pytest.mark.parametrize(
    "form", ["{image},{patient}", "{patient};{image}", "{image}\t{patient}", "{stem},{patient}"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_says_who_the_patients_are(
    bccli: Bccli, make_folder: Any, tmp_path: Path, form: str, encoding: str
) -> None:
    raw = make_folder()
    images = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.png"))
    lines = [form.format(image="image", patient="patient", stem="image")]
    for name in images[1:]:
        lines.append(form.format(image=name, stem=Path(name).stem, patient=name.split("/p")[1][0]))
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding=encoding)
    command = "prepare", "folder", raw, tmp_path / "data", "--patients", tmp_path / "list.csv"
    result = bccli(*command)
    assert "the list of --patients does not name them: 1 (benign/p0_0.png)" in result.stderr
    found = patients_of(tmp_path / "data")
    assert found.pop(images[0]) == ""
    assert all(patient == name.split("/p")[1][0] for name, patient in found.items())


def test_a_list_that_cannot_be_meant_is_refused(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    raw = make_folder()
    (tmp_path / "list.csv").write_text("image,patient\nelsewhere1.png,1\n")
    command = "prepare", "folder", raw, tmp_path / "data", "--patients", tmp_path / "list.csv"
    refused(bccli(*command, exit=3), "names none of the images")
    refused(bccli(*command, *PATIENT, exit=2), "--patient-regex and --patients")
    (tmp_path / "list.csv").write_text("p0_0.png,7\np0_0.png,007\np0_0.png,8\n")
    refused(bccli(*command, exit=3), "line 3", "'8' here and of '7' above")


# Suggestions

PATHS = {
    "prefix_": ["{label}/p{patient}_{number}.png", "p"],
    "prefix-": ["{label}/case{patient}-{number}.jpg", "case"],
    "prefix with blanks": ["{label}/Case {patient} - {number}.png", "Case "],
    "two fields": ["{label}/img_{patient}_{number}.png", ""],
    "class in front": ["{label}/{label}_{patient}_{number}.png", ""],
    "letters behind": ["{label}/P{patient}{letter}.png", "P"],
    "view": ["{label}/{patient}_L_{number}.png", ""],
    "sub-folders": ["{label}/P{patient}/{number}.png", "P"],
    "deeper sub-folders": ["{label}/P{patient}/slide/{number}.png", "P"],
    "quoted": ["{label}/it's {patient}/{number}.png", "it's "],
}


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("kind", list(PATHS))
def test_what_repeats_is_suggested_and_works(bccli: Bccli, tmp_path: Path, kind: str, split: bool) -> None:
    """The expression is copied from the message as a shell would read it."""
    form, _ = PATHS[kind]
    names, truth = {}, {}
    for patient in range(10, 22):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            name = form.format(label=label, patient=patient, number=number, letter="abc"[number])
            name = f"{('train', 'val', 'test')[patient % 3]}/{name}" if split else name
            names[name], truth[name] = patient % 2, patient
    fill(tmp_path / "raw", names)
    command = "prepare", "folder", tmp_path / "raw", tmp_path / "data"
    (line,) = [line for line in bccli(*command, "--dry-run").stderr.splitlines() if "--patient-regex" in line]
    assert "12 of them for 36 images" in line
    words = shlex.split(line[line.index("--patient-regex") :])
    result = bccli(*command, *words)
    assert "--patient-regex" not in result.stderr
    found = patients_of(tmp_path / "data")
    of_number = {truth[name]: found[name] for name in found}
    assert len(set(found.values())) == 12
    assert all(found[name] == of_number[truth[name]] for name in found)


@pytest.mark.parametrize(
    "form",
    [
        "{label}/{number}.png",
        "{label}/img_{number}.png",
        "{label}/{label} ({number}).png",
        "{label}/40X/{number}.png",
        "{label}/{number}_{number}.png",
        "{label}/{label}_{number}_L.png",
        "{label}/14082_idx5_x{tens}_y{number}.png",
    ],
)
def test_where_nothing_repeats_nothing_is_suggested(bccli: Bccli, tmp_path: Path, form: str) -> None:
    labels = ("benign", "malignant")
    names = {
        form.format(label=labels[number % 2], number=number, tens=number // 4): number % 2
        for number in range(20)
    }
    fill(tmp_path / "raw", names)
    result = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "data", "--dry-run")
    assert "--patient-regex" not in result.stderr
