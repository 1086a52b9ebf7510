"""`evaluate DATA --audit`: planted leaks are found, real images raise no false alarm."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core.imaging.phantoms import draw_phantom
from tests.conftest import PATIENT, Bccli, read_rows, rows_of, save
from tests.sentences import refused

SIZE = (96, 96)
NOTHING = {"patients": 0, "identical": 0, "near_duplicates": 0, "children": 0}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared phantom slides of ten patients, two images each: six patients train, two val, two test."""
    from click.testing import CliRunner

    from bccli.cli import cli

    root = tmp_path_factory.mktemp("audit")
    rows = ["path,label,patient,split"]
    for patient in range(10):
        label = ("benign", "malignant")[patient % 2]
        split = "train" if patient < 6 else "val" if patient < 8 else "test"
        for number in range(2):
            pixels = draw_phantom(
                "histology", label, seed=1, patient=patient, slide=1, number=number, size=SIZE
            )[0]
            save(root / "raw" / f"{patient}_{number}.png", pixels)
            rows.append(f"{patient}_{number}.png,{label},p{patient},{split}")
    (root / "raw" / "list.csv").write_text("\n".join(rows) + "\n")
    command = ("prepare", "csv", root / "raw" / "list.csv", root / "data")
    result = CliRunner().invoke(cli, [str(part) for part in command])
    assert result.exit_code == 0, result.stderr
    return root


def audit(bccli: Bccli, *data: Path) -> dict[tuple[str, str], dict]:
    """The findings by (folder, part)."""
    found = json.loads(bccli("evaluate", *data, "--audit", "--format", "json").stdout)
    assert found["format"] == 1
    return {(Path(row["data"]).name, row["part"]): row for row in found["audits"]}


def counts(row: dict) -> dict[str, int]:
    return {name: row[name] for name in NOTHING}


def edit(data: Path, change) -> None:
    """Rewrite manifest.csv; `change` gets all rows and changes them in place."""
    rows = read_rows(data / "manifest.csv")
    change(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (data / "manifest.csv").write_text(stream.getvalue())


@pytest.fixture
def data(slides: Path, tmp_path: Path) -> Path:
    """A prepared dataset of one's own."""
    return Path(shutil.copytree(slides / "data", tmp_path / "data"))


def of_split(rows: list[dict[str, str]], split: str) -> list[dict[str, str]]:
    return [row for row in rows if row["split"] == split]


def test_clean_data_has_nothing_to_tell(bccli: Bccli, data: Path) -> None:
    for row in audit(bccli, data).values():
        assert counts(row) == NOTHING
        assert row["examples"] == ""


def test_a_shared_patient_is_found(bccli: Bccli, data: Path) -> None:
    edit(data, lambda rows: of_split(rows, "test")[0].update(patient="p0"))
    row = audit(bccli, data)["data", "test"]
    assert row["patients"] == 1
    assert row["against"] == "train or val"
    assert row["examples"].count("=") >= 1


def replant(slides: Path, tmp_path: Path, change) -> Path:
    """The slides prepared again with one more file in test, made by `change` from the first one of train."""
    raw = Path(shutil.copytree(slides / "raw", tmp_path / "raw"))
    name = change(raw)
    with (raw / "list.csv").open("a") as stream:
        stream.write(f"{name},benign,px,test\n")
    return raw


def a_copy(raw: Path) -> str:
    shutil.copy(raw / "0_0.png", raw / "another.png")
    return "another.png"


def a_recompressed_and_resized_copy(raw: Path) -> str:
    with Image.open(raw / "0_0.png") as image:
        image.resize((72, 72), Image.Resampling.BILINEAR).save(raw / "another.jpg", quality=75)
    return "another.jpg"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (a_copy, {"identical": 1}),
        (a_recompressed_and_resized_copy, {"near_duplicates": 1}),
    ],
)
def test_a_copy_under_another_name_is_found(
    bccli: Bccli, slides: Path, tmp_path: Path, change, expected: dict[str, int]
) -> None:
    raw = replant(slides, tmp_path, change)
    bccli("prepare", "csv", raw / "list.csv", tmp_path / "planted", "--size", "96x96")
    row = audit(bccli, tmp_path / "planted")["planted", "test"]
    assert counts(row) == {**NOTHING, **expected}
    first, second = row["examples"].split(" = ")
    sources = {entry["path"]: entry["source"] for entry in read_rows(tmp_path / "planted" / "manifest.csv")}
    assert sources[second] == "0_0.png"
    assert sources[first].startswith("another")


def test_an_augmented_child_of_a_test_image_is_found(bccli: Bccli, data: Path) -> None:
    def add_child(rows: list[dict[str, str]]) -> None:
        (parent, *_), child = of_split(rows, "test"), of_split(rows, "train")[0]
        with Image.open(data / parent["path"]) as image:
            turned = np.rot90(np.asarray(image))
        save(data / "images" / "child.png", turned)
        rows.append({**child, "path": "images/child.png", "parent": parent["path"], "variant": "1",
                     "sha256": "ab" * 32})  # fmt: skip

    edit(data, add_child)
    row = audit(bccli, data)["data", "test"]
    assert counts(row) == {**NOTHING, "children": 1}
    assert "images/child.png" in row["examples"]


def test_two_datasets_are_audited_against_each_other(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "again")
    found = audit(bccli, data, tmp_path / "again")
    assert list(found) == [
        ("data", "test"),
        ("data", "val"),
        ("again", "test"),
        ("again", "val"),
        ("again", "all"),
    ]
    pair = found["again", "all"]
    assert pair["against"] == str(data)
    assert (pair["patients"], pair["identical"]) == (10, 20)


def test_folds_are_audited_too(bccli: Bccli, slides: Path, tmp_path: Path) -> None:
    bccli("prepare", "folder", _by_class(slides, tmp_path), tmp_path / "folds", *PATIENT, "--folds", 3)
    assert counts(audit(bccli, tmp_path / "folds")["folds", "folds"]) == NOTHING
    edit(tmp_path / "folds", lambda rows: rows[0].update(fold=str((int(rows[0]["fold"]) + 1) % 3)))
    assert audit(bccli, tmp_path / "folds")["folds", "folds"]["patients"] == 1


def _by_class(slides: Path, tmp_path: Path) -> Path:
    for row in read_rows(slides / "raw" / "list.csv"):
        target = tmp_path / "classes" / row["label"] / f"{row['patient']}_{row['path']}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(slides / "raw" / row["path"], target)
    return tmp_path / "classes"


def test_an_audit_is_csv_in_a_pipe_and_a_table_on_demand(bccli: Bccli, data: Path) -> None:
    edit(data, lambda rows: of_split(rows, "test")[0].update(patient="p0"))
    rows = rows_of(bccli("evaluate", data, "--audit").stdout)
    assert [row["part"] for row in rows] == ["test", "val"]
    assert list(rows[0]) == ["data", "part", "against", *NOTHING, "conflicts", "examples"]
    assert " = " in bccli("evaluate", data, "--audit", "--format", "table").stdout


def test_what_is_no_dataset_is_refused(bccli: Bccli, data: Path, tmp_path: Path) -> None:
    refused(bccli("evaluate", tmp_path / "none", "--audit", exit=3), "no such folder", "prepare")
    refused(bccli("evaluate", data, "--audit", "--data", data, exit=2), "--audit", "--data")


@pytest.mark.parametrize(
    ("pattern", "owner"),
    [
        ("breakhis/**/*.png", lambda path: path.name.split("-")[2]),
        ("mini-ddsm/*/*/*.jpg", lambda path: f"{path.parent.parent.name} {path.parent.name}"),
    ],
)
def test_real_images_raise_no_false_alarm(
    bccli: Bccli, real_data: Path, tmp_path: Path, pattern: str, owner
) -> None:
    """Every real image against those of all other patients: mostly black mammograms must not collide."""
    rows = ["path,label,patient"]
    (tmp_path / "raw").mkdir()
    paths = [path for path in sorted(real_data.glob(pattern)) if "mask" not in path.name.lower()]
    for number, path in enumerate(paths):
        shutil.copy(path, tmp_path / "raw" / f"{number}{path.suffix}")
        rows.append(f"{number}{path.suffix},{'ab'[number % 2]},{owner(path)}")
    (tmp_path / "raw" / "list.csv").write_text("\n".join(rows) + "\n")
    bccli(
        "prepare", "csv", tmp_path / "raw" / "list.csv", tmp_path / "data", "--folds", 3, "--size", "256x256"
    )
    assert len(paths) >= 48
    assert counts(audit(bccli, tmp_path / "data")["data", "folds"]) == NOTHING
