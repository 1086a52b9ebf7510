"""`prepare --metadata FILE`: a table of one's own beside any dataset, and what headers of DICOM files say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.digital_films import inbreast
from tests.commands.mammograms import cbis, lesions, mammogram
from tests.conftest import Bccli, read_rows
from tests.core.imaging.formats.test_dicom import dicom
from tests.sentences import refused

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

BY_NAME = "--patient-regex", r"(p\d+)_", "--ratios", "1/1/1"
MakeFolder = Callable[..., Path]


@pytest.fixture
def raw(make_folder: MakeFolder) -> Path:
    """Six patients p0 to p5 of each class with two images each."""
    return make_folder(patients=6, images=2)


@pytest.fixture
def prepare(bccli: Bccli, raw: Path, tmp_path: Path) -> Callable[..., Any]:
    """Prepares the folder with a table of this text, or of these bytes."""

    def run(table: str | bytes, *options: object, name: str = "clinic.csv", **more: Any) -> Any:
        content = table.encode() if isinstance(table, str) else table
        (tmp_path / name).write_bytes(content)
        command = ("prepare", "folder", raw, tmp_path / "data", *BY_NAME)
        return bccli(*command, "--metadata", tmp_path / name, *options, **more)

    return run


def patients_of(raw: Path) -> list[str]:
    return sorted({path.name.split("_")[0] for path in raw.rglob("*.png")})


def images_of(raw: Path) -> list[str]:
    return sorted(str(path.relative_to(raw)) for path in raw.rglob("*.png"))


def said(tmp_path: Path, column: str, key: str = "patient") -> dict[str, str]:
    """What the manifest says by patient, or by another column."""
    return {row[key]: row[column] for row in read_rows(tmp_path / "data" / "manifest.csv")}


def test_a_table_is_joined_by_patient(prepare: Any, raw: Path, tmp_path: Path) -> None:
    names = patients_of(raw)
    rows = [f"{name};0{40 + number}Y;0,{70 + number};{number % 2}" for number, name in enumerate(names)]
    result = prepare("\n".join(["PatientID;Patient Age;Dose;Implant", *rows, "p99;050Y;1,0;1", rows[0]]))
    assert said(tmp_path, "patient_age") == {name: str(40 + i) for i, name in enumerate(names)}
    assert said(tmp_path, "dose") == {name: f"0.{70 + i}" for i, name in enumerate(names)}
    told = json.loads((tmp_path / "data" / "dataset.json").read_text())
    total = len(images_of(raw))
    assert sum(told["metadata"]["implant"].values()) == total
    assert told["remarks"]["without_image"] == {"count": 1, "first": []}
    assert "p99" not in (tmp_path / "data" / "dataset.json").read_text()
    assert f"by PatientID for {total} of {total} images" in result.stderr
    assert f"1 of its {len(names) + 2} rows about no image here (p99)" in result.stderr
    assert f"1 of its {len(names) + 2} rows there before" in result.stderr
    assert "Dose read with decimal commas" in result.stderr


@pytest.mark.parametrize(
    ("column", "form"),
    [
        *(("path", "path"), ("Source", "absolute"), ("image_name", "name"), ("ImageID", "stem")),
        *(("FileName", "capitals"), ("image file path", "backslashes"), ("image", "other")),
        *(("path", "from the table"), ("path", "around")),
    ],
)
def test_a_table_is_joined_by_image(prepare: Any, raw: Path, tmp_path: Path, column: str, form: str) -> None:
    write = {
        "path": str,
        "absolute": lambda name: str(raw / name),
        "name": lambda name: Path(name).name,
        "stem": lambda name: Path(name).stem,
        "capitals": str.upper,
        "backslashes": lambda name: ".\\" + name.replace("/", "\\"),
        "from the table": lambda name: f"raw/{name}",
        "around": lambda name: f"../{tmp_path.name}/raw/{name}",
        "other": lambda name: str(Path(name).with_suffix(".dcm")),
    }[form]
    names = images_of(raw)
    rows = [f"{write(name)},{number}" for number, name in enumerate(names)]
    result = prepare("\n".join([f"{column},number", *rows]))
    assert said(tmp_path, "number", "source") == {name: str(i) for i, name in enumerate(names)}
    assert "Warning: " + str(tmp_path / "clinic.csv") not in result.stderr


def test_a_row_is_not_about_the_copy_beside_its_image(prepare: Any, raw: Path, tmp_path: Path) -> None:
    name = images_of(raw)[0]
    shutil.copy(raw / images_of(raw)[1], (raw / name).with_suffix(".bmp"))
    prepare(f"path,number\n{name},1\n")
    found = said(tmp_path, "number", "source")
    assert found[name] == "1"
    assert sum(map(bool, found.values())) == 1


def test_images_without_a_row_are_counted(prepare: Any, raw: Path, tmp_path: Path) -> None:
    first, *rest = patients_of(raw)
    result = prepare(f"patient,density\n{first},2\n,3\n")
    missing = sum(name in rest for name in said_of(raw))
    assert f"without a row: {missing} (" in result.stderr
    assert "1 of its 2 rows without patient" in result.stderr
    told = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert told["remarks"]["without_row"]["count"] == missing
    assert told["metadata"]["density"] == {"2": len(said_of(raw)) - missing}


def said_of(raw: Path) -> list[str]:
    """The patient of each image."""
    return [Path(name).name.split("_")[0] for name in images_of(raw)]


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ";"), ("utf-16", "\t"), ("utf-16-le", ","), ("utf-8", "|")]
)
def test_encodings_and_separators(
    prepare: Any, raw: Path, tmp_path: Path, encoding: str, separator: str
) -> None:
    rows = [["Patient", "Größe"], *([name, "groß"] for name in patients_of(raw))]
    text = "\r\n".join(separator.join(row) for row in rows)
    prepare(text.encode(encoding), name="clinic.tsv" if separator == "\t" else "clinic.csv")
    assert set(said(tmp_path, "größe").values()) == {"groß"}


def test_a_workbook(prepare: Any, bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["Patient ID", "Age", "Dose"], *([name, "045Y", 0.5] for name in patients_of(raw))):
        book.active.append(row)
    book.save(tmp_path / "clinic.xlsx")
    bccli("prepare", "folder", raw, tmp_path / "data", *BY_NAME, "--metadata", tmp_path / "clinic.xlsx")
    assert set(said(tmp_path, "age").values()) == {"45"}
    assert set(said(tmp_path, "dose").values()) == {"0.5"}


def test_zeros_before_ids_stay_and_do_not_matter(bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    lines = [
        f"{name},{Path(name).parent.name},00{who[1:]}"
        for name, who in zip(images_of(raw), said_of(raw), strict=True)
    ]
    (raw / "list.csv").write_text("\n".join(["path,label,patient", *lines]))
    (tmp_path / "clinic.csv").write_text(
        "\n".join(["patient,site", *(f"{who[1:]}.0,0{who[1:]}" for who in patients_of(raw))])
    )
    command = ("prepare", "csv", raw / "list.csv", tmp_path / "data", "--ratios", "1/1/1")
    for more in ([], ["--no-images", "--overwrite"]):
        bccli(*command, "--metadata", tmp_path / "clinic.csv", *more)
        assert said(tmp_path, "site") == {f"00{who[1:]}": f"0{who[1:]}" for who in patients_of(raw)}


def test_columns_that_say_who_it_is_and_those_with_a_meaning_are_left_out(
    prepare: Any, raw: Path, tmp_path: Path
) -> None:
    head = "patient,PatientName,Date of Birth,label,p_x,image_id,density"
    rows = [f"{name},Doe^Jane,19520317,benign,0.5,i7,2" for name in patients_of(raw)]
    result = prepare("\n".join([head, *rows]), "--metadata-key", "patient")
    assert "PatientName, Date of Birth left out, as they say who a patient is" in result.stderr
    assert "label, p_x, image_id passed over" in result.stderr
    for path in (tmp_path / "data").rglob("*.*"):
        assert not path.is_file() or b"Doe^Jane" not in path.read_bytes()
    assert set(said(tmp_path, "density").values()) == {"2"}


@pytest.mark.parametrize(
    "column",
    [
        "NHS Number",
        "StudyInstanceUID",
        "hospital_no",
        "Initials",
        "Nachname",
        "Geburtsdatum",
        "patient_address",
    ],
)
def test_other_names_of_what_says_who_it_is(prepare: Any, raw: Path, tmp_path: Path, column: str) -> None:
    rows = [f"{name},secret-{name},2,siemens" for name in patients_of(raw)]
    result = prepare("\n".join([f"patient,{column},density,scanner_name", *rows]))
    assert f"{column} left out, as they say who" in result.stderr
    assert "secret-" not in (tmp_path / "data" / "manifest.csv").read_text()
    assert set(said(tmp_path, "scanner_name").values()) == {"siemens"}


@pytest.mark.parametrize(
    ("table", "options", "fragments"),
    [
        ("id,age\n1,2\n", [], ["has no column path, source or patient, only 'id', 'age'"]),
        ("image,PatientID,age\na,p0,2\n", [], ["'image' and 'PatientID'", "--metadata-key"]),
        ("path,source,age\na,b,2\n", [], ["'path' and 'source'"]),
        ("code,age\np0,2\n", ["--metadata-key", "cod"], ["no column 'cod'", "did you mean 'code'"]),
        ("code,age\np0,2\n", ["--metadata-key", "code"], ["patient=code", "path=code"]),
        ("code,age\np0,2\n", ["--metadata-key", "who=code"], ["'who' is none of path, source, patient"]),
        ("patient,age\np0,2\np0,3\n", [], ["line 3: age of patient 'p0' is '3' here, and '2' in line 2"]),
        ("patient,age\np0,2\np0,\n", [], ["is empty here, and '2' in line 2"]),
        ("patient,Age,age\np0,2,3\n", [], ["has the column 'age' twice ('Age' and 'age')"]),
        ("patient,age\np0,2,3\n", [], ["line 2: has more cells"]),
        ("patient,age\nx1,2\nx2,3\n", [], ["none of its 2 rows is about an image", "'x1'", "'p0'"]),
        ("path,age\nx1.png,2\n", [], ["none of its 1 rows is about an image", "'x1.png'", ".png'"]),
        ("patient,age\n", [], ["has no rows below"]),
        ("patient,label\np0,a\n", [], ["no column that becomes metadata beside 'patient'"]),
        ('patient,age\n"p0,2\np1,3\n', [], ["has a line break", "quotation mark that nothing closes"]),
        ("", [], ["is empty"]),
        ("\n\n", [], ["is empty"]),
        ("patient;Straße\np0;ja\n".encode("latin-1"), [], ["is not in UTF-8"]),
        (bytes(range(256)) * 9, [], ["clinic.csv"]),
    ],
)
def test_tables_that_cannot_be_meant(
    prepare: Any, tmp_path: Path, table: str | bytes, options: list[str], fragments: list[str]
) -> None:
    refused(prepare(table, *options, exit=None), *fragments)
    assert not (tmp_path / "data").exists()


def test_other_faults(prepare: Any, bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    refused(prepare("patient\n", name="old.xls", exit=3), "save it as XLSX")
    command = ("prepare", "folder", raw, tmp_path / "data", *BY_NAME)
    refused(bccli(*command, "--metadata", tmp_path / "no.csv", exit=3), "no.csv: cannot be read")
    refused(bccli(*command, "--metadata", raw, exit=3), "is not a file")
    refused(bccli(*command, "--metadata-key", "age", exit=2), "add --metadata")


def test_a_name_that_means_two_images_is_refused(prepare: Any, raw: Path) -> None:
    name = images_of(raw)[0]
    other = raw / name.split("/")[0] / "more" / Path(name).name
    other.parent.mkdir()
    shutil.copy(raw / images_of(raw)[1], other)
    refused(prepare(f"path,age\n{Path(name).name},2\n", exit=3), "write it with its folder")


def test_another_key_is_named(prepare: Any, raw: Path, tmp_path: Path) -> None:
    rows = [f"{name},x,2" for name in patients_of(raw)]
    prepare("\n".join(["Study Code,image,density", *rows]), "--metadata-key", "patient=study_code")
    assert set(said(tmp_path, "density").values()) == {"2"}


def test_a_changed_table_is_another_request(prepare: Any, bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    rows = "".join(f"{name},2\n" for name in patients_of(raw))
    prepare("patient,density\n" + rows)
    assert "nothing to do" in prepare("patient,density\n" + rows).stderr
    refused(prepare("patient,density\n" + rows.replace("p0,2", "p0,3"), exit=None), "metadata of the content")
    command = ("prepare", "folder", raw, tmp_path / "data", *BY_NAME)
    refused(bccli(*command, exit=None), "metadata of the content", "now none")


def test_the_columns_of_the_datasets_lists_are_not_given_twice(bccli: Bccli, tmp_path: Path) -> None:
    source = cbis(tmp_path / "raw", lesions())
    (tmp_path / "clinic.csv").write_text("patient,density\nP_00001,2\n")
    command = ("prepare", "cbis-ddsm", source, tmp_path / "data", "--metadata", tmp_path / "clinic.csv")
    refused(bccli(*command, exit=3), "its column 'density'", "the lists of cbis-ddsm", "my_density")


def test_views_and_sides_are_those_of_the_manifest(bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    lines = [f"{name},{Path(name).parent.name},CC,left" for name in images_of(raw)]
    (raw / "list.csv").write_text("\n".join(["path,label,View,side", *lines]))
    (tmp_path / "clinic.csv").write_text("\n".join(["path,side", *(f"{name},R" for name in images_of(raw))]))
    command = ("prepare", "csv", raw / "list.csv", tmp_path / "data", "--ratios", "1/1/1")
    refused(bccli(*command, "--metadata", tmp_path / "clinic.csv", exit=3), "'side' is one that")
    bccli(*command)
    assert {(row["view"], row["side"]) for row in read_rows(tmp_path / "data" / "manifest.csv")} == {
        ("CC", "L")
    }
    command = ("prepare", "folder", raw, tmp_path / "more", *BY_NAME, "--metadata", tmp_path / "clinic.csv")
    bccli(*command)
    assert {row["side"] for row in read_rows(tmp_path / "more" / "manifest.csv")} == {"R"}


def test_headers_say_what_no_list_says(bccli: Bccli, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number in range(24):
        label, patient, view = "ab"[number % 2], number // 4, ("CC", "MLO")[number // 2 % 2]
        path = raw / label / f"p{label}{patient}_{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        tags = {"PatientAge": f"{60 + 8 * patient:03d}Y", "ViewPosition": view, "ImageLaterality": "R"}
        tags |= {"Manufacturer": "Maker", "Modality": "MG"}
        path.write_bytes(dicom(mammogram(number), **tags))
    options = "--patient-regex", r"(p[ab]\d)_", "--ratios", "1/1/1"
    bccli("prepare", "folder", raw, tmp_path / "data", *options)
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    assert {row["view"] for row in rows} == {"CC", "MLO"}
    assert {row["side"] for row in rows} == {"R"}
    assert all(row["age"] == str(min(60 + 8 * int(row["patient"][2:]), 90)) for row in rows)
    told = json.loads((tmp_path / "data" / "dataset.json").read_text())["metadata"]
    assert told == {
        "scanner": {"Maker": 24},
        "age": {str(60 + 8 * n if n < 4 else 90): 4 + 4 * (n == 4) for n in range(5)},
    }
    bccli("prepare", "folder", raw, tmp_path / "cut", *options, "--patch", 48, "--workers", 2)
    told = json.loads((tmp_path / "cut" / "dataset.json").read_text())["metadata"]
    assert told["scanner"] == {"Maker": 24}, "an image counts once, whatever it is cut into"
    (tmp_path / "clinic.csv").write_text("patient,age,scanner\npa0,33,mine\n")
    bccli("prepare", "folder", raw, tmp_path / "own", *options, "--metadata", tmp_path / "clinic.csv")
    found = {
        row["patient"]: (row["age"], row["scanner"]) for row in read_rows(tmp_path / "own" / "manifest.csv")
    }
    assert found.pop("pa0") == ("33", "mine")
    assert set(found.values()) == {("", "")}, "columns of a list or table are not mixed with those of headers"
    bccli("augment", tmp_path / "data", tmp_path / "more", "--policy", "flips", "--per-image", 1)
    assert all(row["scanner"] == "Maker" for row in read_rows(tmp_path / "more" / "manifest.csv"))


def test_inbreast_keeps_what_its_list_says(bccli: Bccli, tmp_path: Path) -> None:
    source = inbreast(tmp_path / "raw")
    bccli("prepare", "inbreast", source, tmp_path / "data", "--ratios", "1/0/0")
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    assert "scanner" not in rows[0], "no header says any"
    assert {row["age"] for row in rows} == {"", "45"}


def test_a_table_of_images_has_the_same_forms(bccli: Bccli, raw: Path, tmp_path: Path) -> None:
    lines = [
        f"{name};{Path(name).parent.name};{who};045Y;0,5;Jane"
        for name, who in zip(images_of(raw), said_of(raw), strict=True)
    ]
    (raw / "list.csv").write_text("\n".join(["path;label;patient;Age;dose;Patient Name", *lines]))
    result = bccli("prepare", "csv", raw / "list.csv", tmp_path / "data", "--ratios", "1/1/1")
    assert set(said(tmp_path, "age").values()) == {"45"}
    assert set(said(tmp_path, "dose").values()) == {"0.5"}
    assert "say who a patient is" in result.stderr
    assert "Jane" not in (tmp_path / "data" / "manifest.csv").read_text()
