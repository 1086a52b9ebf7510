"""Tables of other tools: each is read whole, or refused with a sentence; none becomes silently smaller."""

import json
from pathlib import Path

import pytest

from tests.conftest import Bccli
from tests.sentences import refused

ROWS = [
    ("1.png", "benign", 0.9),
    ("2.png", "malignant", 0.2),
    ("3.png", "malignant", 0.6),
    ("4.png", "benign", 0.7),
]
HEADER = "path,label,p_benign,p_malignant"


def table(header: str = HEADER, *, scale: float = 1, separator: str = ",", point: str = ".", end: str = "\n"):
    """Four images, one of which is told wrong."""
    lines = [header.replace(",", separator)]
    for path, label, benign in ROWS:
        cells = [f"{benign * scale:g}", f"{(1 - benign) * scale:g}"]
        lines.append(separator.join([path, label, *(cell.replace(".", point) for cell in cells)]))
    return end.join(lines) + end


PERCENT = "path,label,p_benign,p_malignant\n" + "".join(
    f"{path},{label},{100 * benign:g}%,{100 - 100 * benign:g} %\n" for path, label, benign in ROWS
)
SINGLE = "path,label,p_malignant\n" + "".join(
    f"{path},{label},{1 - benign:.2f}\n" for path, label, benign in ROWS
)


def with_column(name: str, *values: str) -> str:
    """The table with another column."""
    header, *rows = table().splitlines()
    return "\n".join(
        [f"{header},{name}", *(f"{row},{value}" for row, value in zip(rows, values, strict=True))]
    )


READ = {
    "as it should be": table(),
    "semicolons": table(separator=";"),
    "semicolons and decimal commas": table(separator=";", point=","),
    "tabs": table(separator="\t"),
    "bars": table(separator="|"),
    "a line for spreadsheets": "sep=;\n" + table(separator=";"),
    "UTF-16 with a mark": table().encode("utf-16"),
    "UTF-16 without a mark": table().encode("utf-16-le"),
    "UTF-16, the larger byte first": table().encode("utf-16-be"),
    "a mark before UTF-8": table().encode("utf-8-sig"),
    "ends of lines as on Windows": table(end="\r\n"),
    "capital headings": table("Path,Label,P_benign,P_malignant"),
    "blanks around headings": table(" path , label , p_benign , p_malignant "),
    "the graver class first": "path,label,p_malignant,p_benign\n"
    + "".join(f"{path},{label},{1 - benign:.2f},{benign}\n" for path, label, benign in ROWS),
    "percentages": table(scale=100),
    "percent signs": PERCENT,
    "one column of probabilities": SINGLE,
    "one column of percentages": SINGLE.replace(",0.", ","),
    "blank lines and rows of nothing": "\n" + table().replace("3.png", "\n,,,\n3.png"),
    "an empty split": with_column("split", *[""] * 4),
    "a split in capitals": with_column("Split", *["Test"] * 4),
    "a split called testing": with_column("split", *["testing"] * 4),
    "blanks around labels": table().replace("benign,0", " benign ,0"),
    "a hospital as source": with_column("source", *["Oslo"] * 4),
    "patients called nan": with_column("patient", *["nan"] * 4),
    "patients that a spreadsheet does not know": with_column("patient", "#N/A", "-", "?", "#N/A"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_it_is_read_whole(bccli: Bccli, tmp_path: Path, kind: str) -> None:
    text = READ[kind]
    path = tmp_path / "p.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for source, more in ((path, {}), ("-", {"input": path.read_bytes()})):
        printed = bccli("evaluate", source, "--format", "json", **more).stdout
        (entry,) = json.loads(printed)["runs"]
        expected = {"n": 4, "accuracy": 0.75, "tpr": 0.5, "tnr": 1.0, "positive": "malignant", "roc_auc": 1.0,
                    "classes": ["benign", "malignant"], "patients": None, "level": "image",
                    "confusion_matrix": [[2, 0], [1, 1]]}  # fmt: skip
        assert {key: entry[key] for key in expected} == expected
        assert entry["log_loss"] == pytest.approx(0.4004, abs=1e-4)


REFUSED = {
    "another separator": (table(separator="#"), ("no column 'path'", "path,label")),
    "a split of another name": (with_column("split", *["test"] * 3, "holdout"), ("'holdout'", "row 5")),
    "a split that is missing": (with_column("split", "test", "", "test", "test"), ("split (empty)", "row 3")),
    "more cells than headings": (table().replace("2.png", "a, b/2.png"), ("row 3 has 5 cells", "quotation")),
    "a single column of no class": (SINGLE.replace("p_malignant", "p_1"), ("p_1", "benign, malignant")),
    "percentages and shares": (table(scale=100).replace("90,10", "0.9,0.1"), ("row 3", "not a prob")),
    "one beyond 1 in a column": (SINGLE.replace("0.10", "1.10"), ("row 2", "1.1")),
    "logits": (table(scale=-3), ("row 2", "-2.7")),
    "a label in another case": (table().replace("2.png,m", "2.png,M"), ("'Malignant'", "row 3")),
    "the same path twice": (table().replace("2.png", "1.png"), ("'1.png'", "row 2", "row 3")),
    "other names in predicted": (
        "path,label,predicted\n1,benign,0\n2,malignant,1\n3,benign,0\n",
        ("'benign' and '0'", "write them alike"),
    ),
    "other cases in predicted": (
        "path,label,predicted\n1,benign,benign\n2,malignant,Malignant\n",
        ("'Malignant' and 'malignant'",),
    ),
    "numbers as a data frame writes them": (
        "path,label,predicted\n1,0,0.0\n2,1,1.0\n3,0,1.0\n",
        ("'0' and '0.0'",),
    ),
    "a hundred classes that do not exclude each other": (
        "path,label," + ",".join(f"p_{k}" for k in range(100)) + "\n"
        + f"1,0,0.9,{','.join(['0.005'] * 99)}\n",
        ("row 2 sum to 1.395",),
    ),
    "patches of two labels": (
        with_column("source,row,col", "x,0,0", "x,0,9", "y,0,0", "y,0,9"),
        ("image x", "label benign", "label malignant"),
    ),
    "patches of two patients": (
        "path,label,p_a,p_b,source,row,col,patient\n1,a,1,0,x,0,0,7\n2,a,1,0,x,0,9,8\n",
        ("image x", "patient 7", "patient 8"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_a_sentence(bccli: Bccli, kind: str) -> None:
    text, fragments = REFUSED[kind]
    refused(bccli("evaluate", "-", input=text, exit=3), *fragments)


def entry_of(result: object) -> dict:
    (entry,) = json.loads(result.stdout)["runs"]  # type: ignore[attr-defined]
    return dict(entry)


def test_a_hospital_in_source_makes_no_patches(bccli: Bccli) -> None:
    text = "path,label,source,p_a,p_b\n" + "".join(
        f"{number}.png,{'ab'[number % 2]},hospital {number % 3},0.7,0.3\n" for number in range(300)
    )
    result = bccli("evaluate", "-", "--format", "json", input=text)
    assert entry_of(result)["n"] == 300
    assert "3 values of source, and each row counts as an image" in result.stderr
    patches = entry_of(bccli("evaluate", "-", "--level", "patch", "--format", "json", input=text))
    assert patches["n"] == 300


def patches(columns: str = "source,row,col") -> str:
    """24 patches of two images."""
    rows = [f"{k}.png,{'ab'[k % 2]},image {k % 2}.tif,{k // 2},0,0.6,0.4" for k in range(24)]
    return "\n".join([f"path,label,{columns},p_a,p_b", *rows]) + "\n"


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_what_is_merged_is_said(bccli: Bccli, format: str) -> None:
    assert "24 patches of 2 images" in bccli("evaluate", "-", "--format", format, input=patches()).stdout


def test_patches_may_share_their_images_path(bccli: Bccli) -> None:
    rows = [f"{k % 2}.tif,{'ab'[k % 2]},{k // 2},0,0.6,0.4" for k in range(24)]
    text = "\n".join(["path,label,row,col,p_a,p_b", *rows])
    entry = entry_of(bccli("evaluate", "-", "--format", "json", input=text))
    assert (entry["n"], entry["merged"]) == (2, "24 patches of 2 images")


def repeated() -> str:
    """Ten images, each predicted in three folds."""
    rows = [
        f"{image}.png,{'ab'[image % 2]},{fold},{p},{1 - p:.1f}"
        for fold, p in enumerate((0.9, 0.4, 0.3))
        for image in range(10)
    ]
    return "\n".join(["path,label,fold,p_a,p_b", *rows]) + "\n"


def test_folds_of_one_image_are_averaged_only_where_it_is_asked_for(bccli: Bccli) -> None:
    result = bccli("evaluate", "-", "--format", "json", input=repeated())
    entry = entry_of(result)
    assert entry["n"] == 30
    assert entry["confusion_matrix"] == [[5, 10], [5, 10]]
    assert "30 predictions of 10 images in several folds count one by one; --level image" in result.stderr
    averaged = entry_of(bccli("evaluate", "-", "--level", "image", "--format", "json", input=repeated()))
    assert averaged["merged"] == "30 predictions of 10 images"
    assert averaged["confusion_matrix"] == [[5, 0], [5, 0]]


def test_a_hospital_in_source_does_not_join_the_images_of_folds(bccli: Bccli) -> None:
    rows = [f"{k}.png,{'ab'[k // 5]},{fold},hospital {k // 5},0.6,0.4" for fold in (0, 1) for k in range(10)]
    text = "\n".join(["path,label,fold,source,p_a,p_b", *rows])
    entry = entry_of(bccli("evaluate", "-", "--level", "image", "--format", "json", input=text))
    assert (entry["n"], entry["merged"]) == (10, "20 predictions of 10 images")


def test_a_patient_and_an_image_of_an_unknown_one_may_have_the_same_number(bccli: Bccli) -> None:
    rows = [f"{k},{'ab'[k // 4]},{'' if k < 4 else k % 2},0.6,0.4" for k in range(8)]
    text = "\n".join(["path,label,patient,p_a,p_b", *rows])
    result = bccli("evaluate", "-", "--level", "patient", "--format", "json", input=text)
    entry = entry_of(result)
    assert entry["n"] == 6
    assert entry["confusion_matrix"] == [[4, 0], [2, 0]]
    assert "several classes" not in result.stderr


def test_a_label_called_nan_is_none(bccli: Bccli) -> None:
    text = "path,label,predicted\n1,0,0\n2,nan,0\n3,1,0\n"
    result = bccli("evaluate", "-", "--format", "json", input=text, exit=4)
    assert entry_of(result)["classes"] == ["0", "1"]
    assert "1 rows have no label and were left out (2)" in result.stderr


def test_what_several_folds_say_of_an_image_stays_together_in_intervals(bccli: Bccli) -> None:
    """The three answers to an image are as sure as one where they are the same."""
    once = "path,label,fold,p_a,p_b\n" + "".join(
        f"{k}.png,{'ab'[k % 2]},0,{0.9 if k % 3 else 0.2},{0.1 if k % 3 else 0.8}\n" for k in range(40)
    )
    header, *rows = once.splitlines()
    thrice = "\n".join([header, *(row.replace(",0,", f",{fold},", 1) for fold in range(3) for row in rows)])
    limits = [
        entry_of(bccli("evaluate", "-", "--bootstrap", 500, "--format", "json", input=text))["ci"]["accuracy"]
        for text in (once, thrice)
    ]
    assert limits[0] == pytest.approx(limits[1])


def test_a_rule_with_a_direction_asks_which_class_is_positive(bccli: Bccli) -> None:
    rows = [f"{k},{'ab'[k % 2]},{('val', 'test')[k // 2 % 2]},0.{k},{1 - k / 10:.1f}" for k in range(1, 9)]
    text = "\n".join(["path,label,split,p_a,p_b", *rows])
    refused(
        bccli("evaluate", "-", "--threshold", "sensitivity=0.9", input=text, exit=2),
        "--threshold sensitivity=0.9", "nothing says which class", "is positive", "--positive",
    )  # fmt: skip
    bccli("evaluate", "-", "--threshold", "sensitivity=0.9", "--positive", "b", input=text)
    bccli("evaluate", "-", "--threshold", "youden", input=text)
    named = (
        text.replace(",a,", ",healthy,").replace(",b,", ",cancer,").replace("p_a,p_b", "p_cancer,p_healthy")
    )
    entry = entry_of(
        bccli("evaluate", "-", "--threshold", "sensitivity=0.9", "--format", "json", input=named)
    )
    assert (entry["positive"], entry["positive_origin"]) == ("cancer", "known")


def test_rows_that_are_not_measured_are_counted(bccli: Bccli) -> None:
    text = with_column("split", "Train", "validation", "test", "test")
    result = bccli("evaluate", "-", "--format", "json", input=text)
    assert entry_of(result)["n"] == 2
    assert "2 rows of test are measured; 1 of train and 1 of val are not" in result.stderr


def test_patients_of_val_and_test_are_compared_where_val_decides(bccli: Bccli) -> None:
    rows = [f"{k}.png,{'ab'[k % 2]},{('val', 'test')[k // 2 % 2]},p{k // 4},0.6,0.4" for k in range(16)]
    text = "\n".join(["path,label,split,patient,p_a,p_b", *rows])
    shared = "test shares 4 patients with val"
    for format in ("table", "csv", "markdown", "latex"):
        result = bccli("evaluate", "-", "--threshold", "youden", "--format", format, input=text)
        assert shared in result.stdout
        assert f"{shared}, and the threshold rests on val" in result.stderr
    given = bccli("evaluate", "-", "--threshold", 0.4, "--format", "table", input=text)
    assert f"{shared}, by which runs are put in order" in given.stdout
    assert "rests on val" not in given.stdout + given.stderr
    assert shared not in bccli("evaluate", "-", "--split", "val", "--format", "table", input=text).stdout


def test_patients_whose_numbers_differ_in_zeros_are_one(bccli: Bccli) -> None:
    text = with_column("patient", "7", "007", "7.0", "8")
    result = bccli("evaluate", "-", "--format", "json", input=text)
    entry = entry_of(result)
    assert entry["patients"] == 2
    assert any("differ in zeros only" in remark for remark in entry["remarks"])


# Odd tables: what each gives. None is read as fewer rows than it has without a word.


def r_table(separator: str) -> str:
    """As R's write.table has it: names of rows without a heading."""
    header, *rows = table().splitlines()
    lines = [header.split(","), *([str(number), *row.split(",")] for number, row in enumerate(rows, 1))]
    return "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines) + "\n"


MANY = {
    name: f"path,label,{name},p_benign,p_malignant\n"
    + "".join(f"{k}.png,{('benign', 'malignant')[k % 2]},c{k // 4},0.8,0.2\n" for k in range(80))
    for name in (
        "patient_id", "PatientID", "patient id", "Patient-No", "anonymized_patient_id", "case_id", "subject",
        "Subject ID", "MRN", "participant_id",
    )
}  # fmt: skip
"""80 images of 20 patients."""

# Each with the exit code, how many rows count and what is said on stdout or stderr.
ODD: dict[str, tuple[str, int, int, tuple[str, ...]]] = {
    **{f"the column {name}": (MANY[name], 0, 80, (f"patients are those of the column {name}",))
       for name in ("patient_id", "PatientID", "patient id", "Patient-No", "anonymized_patient_id")},
    **{f"the column {name}": (MANY[name], 0, 80, (f"the column {name} may say whose images are",))
       for name in ("case_id", "subject", "Subject ID", "MRN", "participant_id")},
    "two columns of patients": (
        with_column("patient_id,PatientName", *["7,x"] * 4), 0, 4,
        ("the columns patient_id and PatientName may say whose",)),
    "an empty column of patients, and a full one": (
        with_column("patient,patient_id", *[",7"] * 4), 0, 4, ("the column patient_id may say whose",)),
    "a split by another name": (
        with_column("subset", "train", "train", "test", "test"), 0, 4, ("the column subset seems to be",)),
    "a p value": (with_column("p_value", "0.2", "0.01", "0.9", "1"), 0, 4, ("p_value names no class",)),
    "p values of zero": (with_column("p_value", *"0000"), 0, 4, ("p_value names no class",)),
    "p values in words": (with_column("p_Value", "n.s.", "", "*", "**"), 0, 4, ("p_Value names no class",)),
    "ids that begin with p": (with_column("P_id", *"abcd"), 0, 4, ("p_id names no class",)),
    "two other columns that begin with p": (
        with_column("p_adj_x,p_tail", *["0.1,0.2"] * 4), 0, 4, ("p_adj_x and p_tail names no class",)),
    "a p value beside one column of probabilities": (
        "path,label,p_malignant,p_value\n" + "".join(
            f"{path},{label},{1 - benign:.1f},0.3\n" for path, label, benign in ROWS
        ), 0, 4, ("p_value names no class", "p_benign is what p_malignant leaves")),
    "a class that nobody has": (with_column("p_normal", *"0000"), 0, 4, ()),
    "a column group of two values": (
        with_column("group", *["case", "control"] * 2), 0, 4, ("rows of one group, of which there are 2,",)),
    "R, names of rows": (r_table(","), 3, 0, ("row 2 has 5 cells", "row.names=FALSE")),
    "R, names of rows and blanks": (r_table(" "), 3, 0, ("'path'", 'sep=",", row.names=FALSE')),
    "blanks between cells": (table(separator=" "), 3, 0, ("'path'", "blanks part its headings")),
    "R, a heading for the names of rows": (
        "\n".join(f'"{number or ""}",{row}' for number, row in enumerate(table().splitlines())), 0, 4, ()),
    "an index as pandas writes it": (
        "\n".join(f'{number - 1 if number else "Unnamed: 0"},{row}'
                  for number, row in enumerate(table().splitlines())), 0, 4, ()),
    "underscores in numbers": (table().replace("0.9", "0_0.9"), 3, 0, ("p_benign", "row 2", "0_0.9")),
    "thousands with underscores": (table().replace("0.9", "1_000"), 3, 0, ("row 2", "1_000")),
    "infinity": (table().replace("0.9", "infinity"), 3, 0, ("row 2", "infinity")),
    "digits of full width": (table().replace("0.9", "０.９"), 3, 0, ("row 2", "not a probability")),
    "Arabic digits": (table().replace("0.9", "٠.٩"), 3, 0, ("row 2", "not a probability")),
    "numbers with exponents": (table().replace("0.9", "9.0E-1").replace("0.1", "+.1"), 0, 4, ()),
    "headings again": (table() + table(), 3, 0, ("row 6 repeats the headings",)),
    "headings again among classes": (
        "path,label,predicted\n1,a,a\npath,label,predicted\n2,b,b\n", 3, 0, ("row 3 repeats",)),
    "an open quotation mark": (table().replace("3.png", '"3.png'), 3, 0, ("row 4", "quotation mark")),
    "an open quotation mark in a class": (
        'path,label,predicted\n1,a,"a\n2,b,b\n3,b,b\n', 3, 0, ("row 2", "quotation mark")),
    "two open quotation marks": (
        'path,label,predicted\n"1,a,a\n2,b,b\n"3,b,b\n', 3, 0, ("row 2", "quotation mark")),
    "an open quotation mark in the last row": (
        table().replace("4.png", '"4.png'), 3, 0, ("row 5", "quotation mark")),
    "a path of two lines": (table().replace("3.png", '"3\n.png"'), 0, 4, ()),
    "labels as R writes none": (
        table().replace("2.png,malignant", "2.png,NA"), 4, 3, ("1 rows have no label",)),
    "a sum below": (table() + "Total,,2.4,1.6\n", 4, 4, ("1 rows have no label and were left out (Total)",)),
    "a remark below": (table() + "# made by a tool\n", 4, 4, ("were left out (# made by a tool)",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_table_gives_what_it_should(bccli: Bccli, kind: str) -> None:
    text, exit, number, fragments = ODD[kind]
    result = bccli("evaluate", "-", "--format", "json", "--bootstrap", 0, input=text, exit=exit)
    if exit == 3:
        refused(result, *fragments)
        return
    entry = entry_of(result)
    assert entry["n"] == number
    for fragment in fragments:
        assert any(fragment in line for line in [*(entry["remarks"] or ()), *result.stderr.splitlines()])
    if not fragments:
        assert entry["remarks"] is None


@pytest.mark.parametrize("format", ["table", "csv", "markdown"])
def test_every_format_says_whose_images_may_be_meant(bccli: Bccli, format: str) -> None:
    for name, said in (("patient_id", "those of the column"), ("case_id", "may say whose images are")):
        shown = bccli("evaluate", "-", "--bootstrap", 0, "--format", format, input=MANY[name]).stdout
        assert said in shown


def test_patients_of_another_name_are_patients(bccli: Bccli) -> None:
    (expected,) = json.loads(
        bccli("evaluate", "-", "--format", "json", input=MANY["patient_id"].replace("_id", "")).stdout
    )["runs"]
    entry = entry_of(bccli("evaluate", "-", "--format", "json", input=MANY["patient_id"]))
    assert (entry["patients"], entry["resampled"]) == (20, "patients")
    assert entry["ci"] == expected["ci"]


def test_a_class_that_no_label_has_stays_a_class(bccli: Bccli) -> None:
    text = "path,label,p_a,p_b,p_rare\n1,a,0.6,0.2,0.2\n2,b,0.1,0.8,0.1\n"
    entry = entry_of(bccli("evaluate", "-", "--format", "json", input=text))
    assert entry["classes"] == ["a", "b", "rare"]


def test_our_own_groups_are_not_explained(bccli: Bccli) -> None:
    """Tables that bccli wrote have all of its columns."""
    header = (
        "path,split,fold,patient,source,label,predicted,p_a,p_b,"
        "magnification,subtype,view,variant,row,col,group"
    )
    rows = [f"{k}.png,test,,,{k}.png,{'ab'[k % 2]},a,0.6,0.4,,,,0,,,g{k // 2}" for k in range(20)]
    entry = entry_of(bccli("evaluate", "-", "--format", "json", input="\n".join([header, *rows])))
    assert entry["resampled"].startswith("groups of like images")
    assert entry["remarks"] is None


def evaluated(bccli: Bccli, *tables: Path, options: tuple[str, ...] = ()) -> list[dict]:
    """What evaluate says of tables, as JSON."""
    result = bccli("evaluate", *tables, "--bootstrap", 0, "--format", "json", *options)
    return json.loads(result.stdout)["runs"]


@pytest.mark.parametrize("nothing", ["", "NA", "NaN", "None", "null", "#N/A", "?", "-"])
def test_a_prediction_that_is_missing_is_no_class(bccli: Bccli, tmp_path: Path, nothing: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"path,label,predicted\n1.png,benign,benign\n2.png,malignant,{nothing}\n")
    refused(bccli("evaluate", file, exit=3), "predicted (empty) in row 3", "correct it")


def test_a_class_that_is_called_none_is_one(bccli: Bccli, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("path,label,predicted\n1.png,none,none\n2.png,some,none\n3.png,some,some\n")
    (run,) = evaluated(bccli, file)
    assert sorted(run["classes"]) == ["none", "some"]


def test_the_order_of_columns_decides_nothing(bccli: Bccli, tmp_path: Path) -> None:
    for name, header, swapped in (("a", "p_0,p_1", False), ("b", "p_1,p_0", True)):
        rows = [("1", 0, 0.9), ("2", 1, 0.2), ("3", 1, 0.6), ("4", 0, 0.7), ("5", 0, 0.4)]
        cells = [
            (f"{1 - p:.1f},{p}" if swapped else f"{p},{1 - p:.1f}", path, label) for path, label, p in rows
        ]
        lines = [f"{path}.png,{label},{both}" for both, path, label in cells]
        (tmp_path / name).write_text("\n".join([f"path,label,{header}", *lines]))
    first, second = evaluated(bccli, tmp_path / "a", tmp_path / "b")
    for run in (first, second):
        run.pop("name")
    assert first == second
    assert first["positive"] == "1"


def test_what_contradicts_itself_is_said(bccli: Bccli, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(with_column("predicted", "malignant", "malignant", "benign", "benign"))
    (run,) = evaluated(bccli, file)
    assert any("1 of 4 rows predict another class than the most probable" in said for said in run["remarks"])
    file.write_text(
        "path,label,predicted\n1.png,benign,benign\n2.png,malign,malignant\n3.png,malignant,benign\n"
    )
    (run,) = evaluated(bccli, file)
    assert any("malign is the label of 1 row and never the prediction" in said for said in run["remarks"])
    header, *rows = table().splitlines()
    cells = zip(rows, ("a,1", "a,2", "b,1", "b,2"), strict=True)
    file.write_text("\n".join([f"{header},patient,patient_id", *(f"{row},{both}" for row, both in cells)]))
    (run,) = evaluated(bccli, file)
    assert run["patients"] == 2
    assert any("patient_id names others" in said for said in run["remarks"])
    file.write_text(with_column("patient", "1.23457E+11", "1.23457E+11", "7", "8"))
    (run,) = evaluated(bccli, file)
    assert any("1.23457E+11 are numbers that a spreadsheet has shortened" in said for said in run["remarks"])


def test_what_a_table_keeps_from_the_figures_is_in_every_format(bccli: Bccli, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(with_column("patient,split", "a,test", "a,test", "b,val", "b,test"))
    options = "--level", "patient", "--bootstrap", "0"
    for form in ("json", "csv", "markdown", "latex"):
        said = bccli("evaluate", file, *options, "--format", form).stdout
        assert "3 rows of test are measured" in said, form
        assert "1 patient has images of several classes" in said, form


def test_groups_of_unknown_value_are_one(bccli: Bccli, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(with_column("site", "", "unknown", "NA", "north"))
    groups = [run["group"] for run in evaluated(bccli, file, options=("--by", "site"))]
    assert groups[1:] == ["site north", "site unknown"] or groups[1:] == ["site unknown", "site north"]
