"""`prepare csv`: tables as spreadsheets and other programs write them."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bccli, draw, read_rows, save
from tests.sentences import refused

HEADER = ["path", "label", "patient"]


def rows_below(raw: Path) -> list[list[str]]:
    """Path, label and patient of the images that `make_folder` made."""
    names = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.png"))
    return [[name, *Path(name).parts[:1], Path(name).name.split("_")[0]] for name in names]


def text_of(rows: list[list[str]], separator: str = ",", end: str = "\n") -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, lineterminator=end).writerows(rows)
    return stream.getvalue()


def expected(raw: Path) -> set[tuple[str, str, str]]:
    return {(path, label, patient) for path, label, patient in rows_below(raw)}


def found(data: Path) -> set[tuple[str, str, str]]:
    return {(row["source"], row["label"], row["patient"]) for row in read_rows(data / "manifest.csv")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_encodings(
    bccli: Bccli, make_folder: Any, tmp_path: Path, encoding: str, separator: str
) -> None:
    raw = make_folder()
    save(raw / "benign" / "Präparat, ß_0.png", draw(0, 99))
    table = raw / "table.csv"
    table.write_bytes(text_of([HEADER, *rows_below(raw)], separator, "\r\n").encode(encoding))
    bccli("prepare", "csv", table, tmp_path / "data")
    assert found(tmp_path / "data") == expected(raw)


@pytest.mark.parametrize(
    "header",
    [
        ["Path", "Label", "Patient"],
        [" PATH ", "label ", " patient"],
        ["path", "LABEL", "patient", "", ""],
        ["path", "label", "patient", "a remark"],
    ],
)
def test_columns_are_known_in_any_writing(
    bccli: Bccli, make_folder: Any, tmp_path: Path, header: list[str]
) -> None:
    raw = make_folder()
    rows = [row + [""] * (len(header) - 3) for row in rows_below(raw)]
    blank = [[""] * len(header)] * 2
    table = raw / "table.csv"
    table.write_text(text_of([header, *rows[:3], *blank, *rows[3:], *blank]) + "\n\n")
    bccli("prepare", "csv", table, tmp_path / "data")
    assert found(tmp_path / "data") == expected(raw)


def test_a_line_that_names_the_separator_is_obeyed(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    raw = make_folder()
    (raw / "table.csv").write_text("sep=;\n" + text_of([HEADER, *rows_below(raw)], ";"))
    bccli("prepare", "csv", raw / "table.csv", tmp_path / "data")
    assert found(tmp_path / "data") == expected(raw)


def test_a_workbook_is_a_table(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    import openpyxl

    raw, book = make_folder(), openpyxl.Workbook()
    for row in (["Path", "Label", "Patient"], *([*row[:2], int(row[2][1:])] for row in rows_below(raw))):
        book.active.append(row)
    book.save(raw / "table.xlsx")
    bccli("prepare", "csv", raw / "table.xlsx", tmp_path / "data")
    assert found(tmp_path / "data") == {(path, label, who[1:]) for path, label, who in expected(raw)}


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_absolute_paths_are_read_and_named_from_the_table_s_folder(
    bccli: Bccli, make_folder: Any, tmp_path: Path, separator: str
) -> None:
    """What is in the folder of the table gets a relative name; all else keeps its own."""
    raw, elsewhere = make_folder(), save(tmp_path / "elsewhere" / "x.png", draw(0, 88))
    rows = [[str(raw / path), label, who] for path, label, who in rows_below(raw)]
    near = os.path.relpath(save(tmp_path / "near" / "y.png", draw(1, 89)), raw).replace("/", separator)
    rows += [[str(elsewhere), "benign", "p0"], [near, "malignant", "p1"]]
    (raw / "table.csv").write_text(text_of([HEADER, *rows]))
    bccli("prepare", "csv", raw / "table.csv", tmp_path / "data")
    more = {(str(elsewhere), "benign", "p0"), ("../near/y.png", "malignant", "p1")}
    assert found(tmp_path / "data") == expected(raw) | more


def test_one_image_by_two_paths_is_named(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    raw = make_folder()
    rows = rows_below(raw)
    (raw / "table.csv").write_text(text_of([HEADER, *rows, [str(raw / rows[0][0]), *rows[0][1:]]]))
    refused(bccli("prepare", "csv", raw / "table.csv", tmp_path / "data", exit=3), "already in line 2")


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "none", "None", "unknown", "Unknown", "", " ", "<NA>"])
def test_patients_that_nobody_knows(bccli: Bccli, make_folder: Any, tmp_path: Path, text: str) -> None:
    raw = make_folder()
    (raw / "table.csv").write_text(text_of([HEADER, *([*row[:2], text] for row in rows_below(raw))]))
    result = bccli("prepare", "csv", raw / "table.csv", tmp_path / "data")
    assert "the patients of 24 images are unknown" in result.stderr
    assert {patient for _, _, patient in found(tmp_path / "data")} == {""}


def test_splits_and_folds_as_programs_write_them(bccli: Bccli, make_folder: Any, tmp_path: Path) -> None:
    raw = make_folder()
    words = {"p0": "Train", "p1": "training", "p2": "validation", "p3": "VAL", "p4": "testing", "p5": " test"}
    rows = [[*row, words[row[2]], "nan"] for row in rows_below(raw)]
    (raw / "table.csv").write_text(text_of([[*HEADER, "Split", "mask"], *rows]))
    bccli("prepare", "csv", raw / "table.csv", tmp_path / "data")
    splits = {row["patient"]: row["split"] for row in read_rows(tmp_path / "data" / "manifest.csv")}
    assert splits == {"p0": "train", "p1": "train", "p2": "val", "p3": "val", "p4": "test", "p5": "test"}
    rows = [[*row, f"{int(row[2][1:]) // 2}.0"] for row in rows_below(raw)]
    (raw / "folds.csv").write_text(text_of([[*HEADER, "fold"], *rows]))
    bccli("prepare", "csv", raw / "folds.csv", tmp_path / "folds")
    assert {row["fold"] for row in read_rows(tmp_path / "folds" / "manifest.csv")} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("header", "fragments"),
    [
        ("path label patient", ("no column 'path'", "'path label patient'", "semicolons", "UTF-8")),
        ("path:label:patient", ("no column 'path'", "semicolons")),
        ("file,label", ("no column 'path'", "'file', 'label'")),
        ("path,lables", ("no column 'label'", "did you mean 'lables'?")),
        ("path,label,path", ("column 'path' twice",)),
    ],
)
def test_a_header_without_the_columns_hints_at_its_form(
    bccli: Bccli, make_folder: Any, tmp_path: Path, header: str, fragments: tuple[str, ...]
) -> None:
    raw = make_folder()
    (raw / "table.csv").write_text(f"{header}\n" + text_of(rows_below(raw)))
    refused(bccli("prepare", "csv", raw / "table.csv", tmp_path / "data", exit=3), *fragments)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_table_that_is_not_utf8_is_refused_before_any_image(
    bccli: Bccli, make_folder: Any, tmp_path: Path, column: int
) -> None:
    raw = make_folder()
    save(raw / "benign" / "gutärtig_0.png", draw(0, 99))
    rows = [*rows_below(raw), ["benign/gutärtig_0.png" if column == 0 else "benign/p0_0.png", "benign", "p0"]]
    rows[-2 if column else -1][column] = ["benign/gutärtig_0.png", "gutärtig", "Müller"][column]
    table = raw / "table.csv"
    table.write_bytes(text_of([HEADER, *rows[: len(rows) - bool(column)]]).encode("latin-1"))
    refused(
        bccli("prepare", "csv", table, tmp_path / "data", exit=3), str(table), "not in UTF-8", "CSV UTF-8"
    )
    assert not (tmp_path / "data").exists()


def test_names_of_files_that_are_not_utf8_can_be_listed_as_they_are(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    name = os.fsdecode(b"benign/p0_gut\xe4rtig.png")
    os.rename(raw / "benign" / "p0_0.png", raw / name)
    table = text_of([HEADER, *rows_below(raw)])
    (raw / "table.csv").write_bytes(os.fsencode(table))
    bccli("prepare", "csv", raw / "table.csv", tmp_path / "data")
    assert b"benign/p0_gut\xe4rtig.png" in (tmp_path / "data" / "manifest.csv").read_bytes()


@pytest.mark.parametrize(
    ("one", "other"),
    [("Benign", "benign"), ("in situ", "in_situ"), ("1", "1.0"), ("01", "1"), ("benign", "benign\u200b")],
)
def test_labels_that_are_nearly_equal_are_refused(
    bccli: Bccli, make_folder: Any, tmp_path: Path, one: str, other: str
) -> None:
    raw = make_folder()
    rows = [[path, one if place % 5 else other, who] for place, (path, _, who) in enumerate(rows_below(raw))]
    (raw / "table.csv").write_text(text_of([HEADER, *rows]))
    result = bccli("prepare", "csv", raw / "table.csv", tmp_path / "data", exit=3)
    refused(result, repr(one), repr(other), "line 2", "line 3", "the same name")


@pytest.mark.parametrize(
    ("row", "fragments"),
    [
        ("benign/a, b.png,benign,p0", ("line 26", "more cells", "quotes")),
        ("benign/a.png,nan,p0", ("line 26", "the label is nan")),
        ("nan,benign,p0", ("line 26", "path is empty")),
        ("D:\\x.png,benign,p0", ("line 26", "absolute on Windows")),
        ('benign/a.png,"benign,p0\nbenign/b.png,benign",p0', ("line 27", "line break", "quotation mark")),
        ("benign/a.png,benign\0,p0", ("line 26", "control character")),
    ],
)
def test_a_row_that_a_program_spoiled_is_named(
    bccli: Bccli, make_folder: Any, tmp_path: Path, row: str, fragments: tuple[str, ...]
) -> None:
    raw = make_folder()
    (raw / "table.csv").write_text(text_of([HEADER, *rows_below(raw)]) + row + "\n")
    refused(bccli("prepare", "csv", raw / "table.csv", tmp_path / "data", exit=3), *fragments)


def test_a_folder_in_the_place_of_the_table_names_the_table_in_it(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    (raw / "table.csv").write_text(text_of([HEADER, *rows_below(raw)]))
    refused(bccli("prepare", "csv", raw, tmp_path / "data", exit=3), f"such as {raw / 'table.csv'}")


@pytest.mark.parametrize("column", ["PatientID", "patient_id", "Patient Number"])
def test_another_column_that_can_only_be_of_patients_is_theirs(
    bccli: Bccli, make_folder: Any, tmp_path: Path, column: str
) -> None:
    raw = make_folder()
    table = raw / "table.csv"
    table.write_text(text_of([["path", "label", column], *rows_below(raw)]))
    said = bccli("prepare", "csv", table, tmp_path / "data").stderr
    assert found(tmp_path / "data") == expected(raw)
    assert "taken for its patients" in said
    assert column.lower().replace(" ", "_") not in read_rows(tmp_path / "data" / "manifest.csv")[0]


def test_of_two_columns_of_patients_the_one_called_patient_counts(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    table = raw / "table.csv"
    rows = [[*row, f"hospital-{row[2]}"] for row in rows_below(raw)]
    table.write_text(text_of([[*HEADER, "PatientID"], *rows]))
    said = bccli("prepare", "csv", table, tmp_path / "data").stderr
    assert found(tmp_path / "data") == expected(raw)
    assert "say who a patient is, and were left out: 1 (patientid)" in said
    assert "hospital-" not in (tmp_path / "data" / "manifest.csv").read_text()


def test_columns_with_a_meaning_of_their_own_are_named(
    bccli: Bccli, make_folder: Any, tmp_path: Path
) -> None:
    raw = make_folder()
    table = raw / "table.csv"
    table.write_text(text_of([[*HEADER, "subtype", "dose"], *([*row, "x", "1"] for row in rows_below(raw))]))
    said = bccli("prepare", "csv", table, tmp_path / "data").stderr
    assert "names have a meaning of their own: 1 (subtype)" in said
    assert {row["dose"] for row in read_rows(tmp_path / "data" / "manifest.csv")} == {"1"}
