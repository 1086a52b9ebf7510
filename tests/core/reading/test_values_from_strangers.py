"""Whatever becomes of a file that bccli wrote, reading it ends well or in a sentence of ours."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.augmentation.policies import find_policy
from bccli.core.classifiers.models import Classifier, load_classifier, save_classifier
from bccli.core.data.dataset import load_dataset
from bccli.core.data.label_tree import read_tree
from bccli.core.errors import BccliError
from bccli.core.metrics.figures import figures_from_json
from bccli.core.reading.texts import read_json
from bccli.core.runs.predictions import read_predictions
from bccli.core.runs.run_folder import folds_of, load_run, networks_of
from bccli.recipes import check_keys, load_recipe, resolve
from tests.core.data.test_stored_info import COMPLETE, DATASET, FOLDS, TREE
from tests.fuzzing import FEW, MANY, damaged

ROOT = Path(__file__).parents[3]
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1.5, 1e308, "", "..", "../../etc", "/etc/passwd", "a\0b", "ä\udcff", "\ud800",
    "x" * 999, [], [[]], [None], {}, {"": {}}, {"a": [1]},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a value of JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], what: Callable[[Any, Any], None]) -> Any:
    """A copy of a value of JSON in which `what` has been done to the place at a path."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    what(holder, path[-1])
    return copy


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """A value of JSON with some keys dropped, added or renamed, or of other types."""
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(value))
        if not known:
            break
        path, odd = draw(st.sampled_from(known)), draw(st.sampled_from(ODD))
        kind = draw(st.sampled_from(["drop", "set", "add"]))

        def change(holder: Any, key: Any, kind: str = kind, odd: Any = odd) -> None:
            if kind == "drop":
                del holder[key]
            elif kind == "set" or isinstance(holder, list):
                holder[key] = odd
            else:
                holder["a key of nobody's"] = odd

        value = changed(value, path, change)
    return value


def ends_well(read: Callable[[], object]) -> None:
    """Reading ends without an error, or with one that says what is wrong in a line."""
    sentence = "none"
    try:
        read()
    except (BccliError, click.UsageError) as error:
        sentence = str(error)
    assert len(sentence.splitlines()) == 1


FIGURES = {
    "format": 1,
    "runs": [{"name": "a", "n": 2, "classes": ["a"], "confusion_matrix": [[1]], "ci": {"f1": [0.1, 0.2]}}],
}  # fmt: skip


@pytest.mark.parametrize("facts", [COMPLETE, FOLDS, TREE])
@FEW
@given(data=st.data())
def test_run_json(facts: dict[str, Any], data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(data.draw(spoilt(facts))))

    def read() -> None:
        run = load_run(tmp_path)
        assert run.preparation is not None
        folds_of(run)
        networks_of(run)

    ends_well(read)


@FEW
@given(value=spoilt(DATASET))
def test_dataset_json(value: Any, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(value))
    ends_well(lambda: load_dataset(tmp_path))


@FEW
@given(value=spoilt(FIGURES))
def test_metrics_json(value: Any) -> None:
    ends_well(lambda: figures_from_json(value, "metrics.json"))


# Texts

TEXTS = {
    "recipe": b'[prepare]\nsize = "8x8"\n[prepare.paper]\nseed = 1\n[train]\ndense = [8, 4]\n',
    "policy": b'title = "a"\n[[operations]]\naugmenter = "Fliplr"\nprobability = 0.5\n',
    "tree": b"root: normal, tumor\ntumor: benign, cancer # graver\n",
    "predictions": b"path,split,patient,label,predicted,p_a,p_b\nx.png,test,1,a,a,0.75,0.25\n"
    b"y.png,val,2,b,a,0.5,0.5\n",
    "manifest": b"",
    "json": json.dumps(COMPLETE).encode(),
}  # fmt: skip


def read_recipe(path: Path) -> None:
    from bccli.cli import cli

    recipe = load_recipe(str(path))
    check_keys(recipe, cli)
    for command in recipe.tables:
        resolve(recipe, command, None)


def read_manifest(path: Path) -> None:
    from bccli.core.data.manifest import read_rows

    list(read_rows(path))


READERS: dict[str, Callable[[Path], object]] = {
    "recipe": read_recipe,
    "policy": lambda path: find_policy(str(path)),
    "tree": read_tree,
    "predictions": read_predictions,
    "manifest": read_manifest,
    "json": read_json,
}


def manifest() -> bytes:
    """A manifest of one row."""
    from bccli.core.data.manifest import MANIFEST, Sample

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    sample = Sample(path="images/a.png", label="a", split="train", width=8, height=8, sha256="0" * 64)
    writer.writerows([MANIFEST, sample.cells(MANIFEST)])
    return stream.getvalue().encode()


PIECES = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b"'", b"\n", b"\r", b",", b";", b"[", b"{",
    b"=", b".", b"nan", b"inf", b"1e999", b"9" * 5000, b"[" * 3000, b"a." * 3000, "é".encode("latin-1"),
    b"-1", "\u202e".encode(), b"\x1b[31m", b"#", b"(", b")", b":", b"\\", b"\\u0000", b"x" * 20000, b'"""',
)  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn, seed: bytes) -> bytes:
    """Bytes with pieces inserted, removed, doubled or replaced."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 20)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(data[start:end] * 2))
        data = data[:start] + piece + data[end:]
    return data.decode().encode(draw(st.sampled_from(["utf-16", "utf-8"]))) if _is_text(data) else data


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_a_mutant(kind: str, data: st.DataObject, folder: Path) -> None:
    path = folder / f"file.{kind}"
    path.write_bytes(data.draw(mutants(TEXTS[kind] or manifest())))
    ends_well(lambda: READERS[kind](path))


@pytest.mark.parametrize("kind", READERS)
@FEW
@given(data=st.data())
def test_texts(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    read_a_mutant(kind, data, tmp_path)


# Workbooks


@cache
def workbook() -> bytes:
    """A table as XLSX."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["path", "label"], ["a.png", "benign"], [1, 2.5]):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def repacked(data: bytes, member: str, change: Callable[[bytes], bytes]) -> bytes:
    """An archive in which a member has been changed."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as before,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, change(content) if name == member else content)
    return stream.getvalue()


MEMBERS = (
    "[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml",
    "xl/_rels/workbook.xml.rels",
)  # fmt: skip


def read_workbook(path: Path) -> None:
    from bccli.core.datasets.layout.indexes import read_index

    list(read_index(path, ("path", "label")))


@FEW
@given(data=st.data())
def test_a_workbook(data: st.DataObject, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.xlsx", workbook()
    mutant = data.draw(damaged(whole))
    if data.draw(st.booleans()):
        member = data.draw(st.sampled_from(MEMBERS))
        mutant = repacked(whole, member, lambda content: data.draw(damaged(content)))
    path.write_bytes(mutant)
    ends_well(lambda: read_workbook(path))


def test_a_workbook_says_nothing_of_its_size_that_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    sheet = "xl/worksheets/sheet1.xml"
    path.write_bytes(repacked(workbook(), sheet, lambda data: data.replace(b'"A1:B3"', b'"A1:XFD1048576"')))
    read_workbook(path)
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    path.write_bytes(repacked(workbook(), sheet, lambda data: data.replace(b"</sheetData>", far)))
    read_workbook(path)


@pytest.mark.parametrize("size", [40_000, 70_000_000])
def test_a_cell_that_is_too_long(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    letters = bytes(97 + number % 26 for number in range(997)) * (size // 997)
    path.write_bytes(
        repacked(
            workbook(),
            "xl/worksheets/sheet1.xml",
            lambda data: data.replace(b"2.5", b'2.5</v></c><c t="str"><v>' + letters),
        )
    )
    with pytest.raises(BccliError, match=r"a\.xlsx"):
        read_workbook(path)


# Arrays


def classifier() -> Classifier:
    arrays = {"mean": np.zeros(4), "scale": np.ones(4), "weights": np.ones((4, 1)), "bias": np.zeros(1)}
    return Classifier("logistic", 2, 4, arrays, {})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a classifier."""
    path = tmp_path_factory.mktemp("stored") / "classifier.npz"
    save_classifier(path, classifier())
    return path.read_bytes()


@FEW
@given(data=st.data())
def test_a_classifier(data: st.DataObject, stored: bytes, tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    path.write_bytes(data.draw(damaged(stored)))
    ends_well(lambda: load_classifier(path))


@FEW
@given(data=st.data())
def test_the_facts_of_a_classifier(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    facts = {"format": 1, "kind": "logistic", "classes": 2, "width": 4, "settings": {}}
    arrays: dict[str, Any] = dict(classifier().arrays)
    arrays[data.draw(st.sampled_from(list(arrays)))] = data.draw(
        st.sampled_from(
            [np.zeros((0, 3)), np.zeros((4, 2)), np.array(["a"]), np.full(4, np.nan), np.array(2)]
        )
    )
    np.savez(path, classifier=np.array(json.dumps(data.draw(spoilt(facts)))), **arrays)
    ends_well(lambda: load_classifier(path))


@pytest.mark.full
@pytest.mark.parametrize("kind", READERS)
@MANY
@given(data=st.data())
def test_many_texts(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    read_a_mutant(kind, data, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("facts", [COMPLETE, FOLDS, TREE])
@MANY
@given(data=st.data())
def test_many_run_jsons(facts: dict[str, Any], data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(data.draw(spoilt(facts))))
    ends_well(lambda: networks_of(load_run(tmp_path)))
