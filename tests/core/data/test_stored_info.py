"""Records of dataset.json and run.json: the file that is read is the file that is written, to the byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bccli.core.data.dataset import DatasetInfo
from bccli.core.data.stored_info import StoredInfo
from bccli.core.errors import DataError
from bccli.core.runs.run_info import RunInfo
from tests.conftest import Bccli

MakeFolder = Callable[..., Path]

DATASET: dict[str, Any] = {
    "format": 1, "tool": "bccli", "version": "0.1.0", "dataset": "folder", "protocol": "honest",
    "settings": {"dataset": "folder", "ratios": [0.7, 0.2, 0.1]},
    "preparation": {"size": [8, 8], "fit": "stretch"},
    "classes": ["benign", "malignant"], "positive": "malignant", "positive_origin": "known",
    "patients": None, "notes": ["a note"],
    "counts": [{"part": "train", "label": "benign", "images": 2, "patients": None}],
    "ages": [{"label": "", "patients": 2, "mean": 50.5}],
    "sources": 2, "quarantined": 0, "excluded": {}, "unstained": 0, "blank": None, "remarks": {},
    "audit": {"test": {"patients": 0}}, "conflicts": {"pairs": 0}, "content_hash": "ab",
}  # fmt: skip
RUNNING: dict[str, Any] = {
    "format": 1, "tool": "bccli", "version": "0.1.0", "kind": "network", "status": "running",
    "settings": {
        "dense": [8, 4], "lr": 0.001, "output": "softmax", "loss": "mse", "label_smoothing": 0.1,
        "dropout": 0.0, "seed": 0, "from_layer": None, "epochs": 3,
    },
}  # fmt: skip
COMPLETE: dict[str, Any] = {
    **RUNNING, "status": "complete", "backbone": "cnn-15", "dataset": "folder", "protocol": "honest",
    "classes": ["benign", "malignant"], "positive": None, "positive_origin": None,
    "preparation": {"size": [8, 8], "fit": "stretch"},
    "data": {"hash": "ab", "images": 4, "path": "../data", "view": {"tree": "a, b", "node": "root"}},
    "leakage": {"test": {"patients": 0}}, "seed": 0, "recipe": None, "size": [8, 8], "network_kept": False,
    "train_accuracy": None, "val_accuracy": 0.5, "of a later bccli": [1, {"two": 3}],
    "files": {"model.keras": "cd"},
    "calibration": {"method": "temperature", "temperature": 1.5, "images": 4},
}  # fmt: skip
SWEEP: dict[str, Any] = {
    **RUNNING, "kind": "sweep", "status": "complete", "members": ["a", "b"], "files": {}
}  # fmt: skip
FOLDS: dict[str, Any] = {**COMPLETE, "kind": "folds", "parts": ["fold-0", "fold-1"]}
TREE: dict[str, Any] = {
    **COMPLETE,
    "kind": "tree",
    "parts": ["root"],
    "tree": "benign, malignant",
    "decide": "path",
}
FILES = [(DatasetInfo, DATASET), *((RunInfo, facts) for facts in (RUNNING, COMPLETE, SWEEP, FOLDS, TREE))]


def written(info: StoredInfo, path: Path) -> bytes:
    """The bytes of the file that a record writes."""
    info.write(path)
    return path.read_bytes()


@pytest.mark.parametrize(("record", "facts"), FILES)
def test_a_file_that_is_read_and_written_again_is_the_same(
    record: type[StoredInfo], facts: dict[str, Any], tmp_path: Path
) -> None:
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (tmp_path / "before.json").write_text(text)
    info = record.read(tmp_path / "before.json")
    assert written(info, tmp_path / "after.json") == text.encode()
    assert written(info.with_facts(), tmp_path / "after.json") == text.encode()


def test_a_prepared_dataset_is_written_as_it_is_read(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    bccli("prepare", "folder", make_folder(), tmp_path / "data", "--patient-regex", "p[0-9]+")
    path = tmp_path / "data" / "dataset.json"
    before = path.read_bytes()
    assert written(DatasetInfo.read(path), path) == before


@pytest.mark.parametrize(("record", "facts"), FILES)
def test_what_is_of_another_format_or_lacks_a_key_is_refused(
    record: type[StoredInfo], facts: dict[str, Any]
) -> None:
    path = Path("folder") / "marker.json"
    spoilt = [
        ({**facts, "format": 2}, "newer bccli (format 2, not 1); update this one"),
        ({**facts, "format": 0}, f"older bccli (format 0, not 1); {record.REMEDY}"),
        ({**facts, "format": "1"}, f"has no format number; {record.REMEDY}"),
        ({**facts, "tool": "other"}, "was not written by bccli"),
        ([facts], "was not written by bccli"),
        *(
            ({name: fact for name, fact in facts.items() if name != key}, f"has no {key!r}; {record.REMEDY}")
            for key in record.needed(facts)
        ),
    ]
    for content, sentence in spoilt:
        with pytest.raises(DataError) as caught:
            record.from_json(content, path)
        assert str(caught.value).startswith(str(path))
        assert sentence in str(caught.value)


@pytest.mark.parametrize(("record", "facts"), FILES)
def test_a_value_of_another_type_is_refused(record: type[StoredInfo], facts: dict[str, Any]) -> None:
    path = Path("folder") / "marker.json"
    for key in record.needed(facts):
        wrong = (3, "text", None, True) if isinstance(facts[key], (list, dict)) else ([1], {"a": 1}, True)
        for value in wrong:
            if (key, value) == ("blank", {"a": 1}):
                continue  # which a dataset with blank images has
            with pytest.raises(DataError) as caught:
                record.from_json({**facts, key: value}, path)
            sentence = f"{path}: {key!r} is not what bccli writes there; {record.REMEDY}"
            assert str(caught.value) == sentence


def test_a_fact_that_changes_keeps_its_place_and_a_new_one_comes_last() -> None:
    info = RunInfo.from_json(COMPLETE, Path("run.json"))
    changed = info.with_facts(backbone="vgg16", fitted={"C": 1})
    assert list(changed.to_json()) == [*COMPLETE, "fitted"]
    assert (changed.backbone, info.backbone) == ("vgg16", "cnn-15")
    assert (info.classes, info.size) == (("benign", "malignant"), (8, 8))
    assert info.data.subset == {"tree": "a, b", "node": "root"}


def test_a_run_without_its_data_s_hash_is_refused() -> None:
    with pytest.raises(DataError, match=r"'data\.hash' is not what bccli writes there"):
        RunInfo.from_json({**COMPLETE, "data": {"images": 4}}, Path("run.json"))
