"""Files of vectors: the same numbers whatever the format, and nothing but numbers."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bccli.core.errors import DataError
from bccli.core.reading.limits import MESSAGE
from bccli.core.vectors.contents import NamedVectors, SlideVectors
from bccli.core.vectors.sources import open_vectors, read_file

NAMES = ("a/1.png", "a/2.png", "b/1.png", "b/ü.png")
VALUES = np.array([[1, 2.5, -3], [4, 5, 6e-8], [7, 8, 9], [0.1, 0, 3e4]], np.float32)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content["features"] = VALUES
        content.create_dataset("paths", data=list(NAMES), dtype=h5py.string_dtype())


def write_npz(path: Path) -> None:
    np.savez(path, features=VALUES, paths=np.array(NAMES))


def frame(values: np.ndarray = VALUES) -> pandas.DataFrame:
    columns = {f"f{number}": values[:, number] for number in range(values.shape[1])}
    return pandas.DataFrame({"f": columns.pop("f0"), "path": NAMES, **columns})


def write_csv(path: Path) -> None:
    frame().to_csv(path, index=False)


def write_parquet(path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame().to_parquet(path)


def write_lists(path: Path) -> None:
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"path": NAMES, "features": list(VALUES)}).to_parquet(path)


WRITERS = {
    "hdf5": ("v.h5", write_hdf5), "npz": ("v.npz", write_npz), "csv": ("v.csv", write_csv),
    "parquet": ("v.parquet", write_parquet), "lists": ("lists.parquet", write_lists),
}  # fmt: skip


def named(path: Path) -> NamedVectors:
    found = read_file(path)
    assert isinstance(found, NamedVectors)
    return found


def slide(path: Path) -> SlideVectors:
    found = read_file(path)
    assert isinstance(found, SlideVectors)
    return found


def refused(path: Path, *fragments: str) -> str:
    """The one sentence with which a file, or a folder, is refused."""
    with pytest.raises(DataError) as caught:
        open_vectors(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < MESSAGE
    for fragment in fragments:
        assert fragment in message, message
    return message


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_vectors(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)
    found = named(tmp_path / name)
    assert found.names == NAMES
    assert found.values.shape == VALUES.shape
    assert (found.values[np.array([3, 0, 0])] == VALUES[[3, 0, 0]]).all()
    assert found.values[np.arange(4)].dtype == np.float32


@given(
    rows=st.integers(1, 40),
    wanted=st.lists(st.integers(0, 39), max_size=60),
    leading=st.booleans(),
    chunked=st.booleans(),
    kind=st.sampled_from(["f2", "f4", "f8", "i2"]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_of_hdf5_are_those_that_were_asked_for(
    rows: int, wanted: list[int], leading: bool, chunked: bool, kind: str, tmp_path: Path
) -> None:
    values = (np.arange(rows * 3).reshape(rows, 3) % 1000).astype(kind)
    stored = values[None] if leading else values
    with h5py.File(tmp_path / "s.h5", "w") as content:
        chunks = (*stored.shape[:-2], 2, 3) if chunked and rows > 1 else None
        content.create_dataset("features", data=stored, chunks=chunks)
    positions = np.array([row % rows for row in wanted], np.int64)
    found = slide(tmp_path / "s.h5").values[positions]
    assert found.dtype == np.float32
    assert (found == values[positions].astype(np.float32)).all()


def test_a_slide_has_the_name_of_its_file_and_says_where_its_patches_lie(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "TCGA-1.h5", "w") as content:
        content["features"] = VALUES[None].astype("f2")
        content["coords"] = np.arange(8)[None].reshape(1, 4, 2)
    found = slide(tmp_path / "TCGA-1.h5")
    assert found.name == "TCGA-1"
    assert found.places is not None
    assert found.places().tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    np.savez(tmp_path / "TCGA-2.npz", features=VALUES, coords=np.arange(8).reshape(4, 2))
    other = slide(tmp_path / "TCGA-2.npz")
    assert other.places is not None
    assert other.places().tolist() == found.places().tolist()
    assert open_vectors(tmp_path).names == ("TCGA-1", "TCGA-2")


def test_a_slide_may_have_one_vector_or_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as content:
        content["features"] = VALUES[0]
    with h5py.File(tmp_path / "none.h5", "w") as content:
        content["features"], content["coords"] = np.empty((0, 3), "f4"), np.empty((0, 2), "i8")
    found = {one.name: one.values for one in open_vectors(tmp_path).slides}
    assert (found["one"][np.array([0])] == VALUES[:1]).all()
    assert found["none"].shape == (0, 3)


def test_semicolons_and_commas_in_numbers_are_read(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("path;a;b\n1.png;0,5;-1e-3\n\n2.png;nan;2\n")
    found = named(tmp_path / "v.csv").values[np.arange(2)]
    assert found[0].tolist() == pytest.approx([0.5, -0.001])
    assert np.isnan(found[1, 0])


# What is refused


def pickled(path: Path) -> None:
    np.savez(path, features=VALUES, paths=np.array(NAMES, object))


def of_text(path: Path) -> None:
    np.savez(path, features=np.array([["a", "b"]]), paths=np.array(["1"]))


def of_objects(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset("features", data=["a", "b"], dtype=h5py.string_dtype())
        content["paths"] = ["1", "2"]


def of_references(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset("features", (2, 2), h5py.ref_dtype)


def external_link(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content["features"] = h5py.ExternalLink("secret.h5", "/features")


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content["features"] = h5py.SoftLink("/elsewhere")


def external_storage(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset("features", (2, 3), "f4", external=[("secret.bin", 0, 24)])


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "features", (4, 3))
    with h5py.File(path, "w") as content:
        content.create_virtual_dataset("features", layout)


def endless(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset("features", (2**33, 1024), "f4", chunks=(64, 1024))


def packed(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset("features", data=np.zeros((2**15, 1024), "f4"), compression="gzip")


def one_piece(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content.create_dataset(
            "features", (2, 1024), "f4", chunks=(2**19, 1024), maxshape=(None, 1024), compression="gzip"
        )


def twice(path: Path) -> None:
    np.savez(path, features=VALUES[:2], paths=np.array(["a", "a"]))


def too_few_names(path: Path) -> None:
    np.savez(path, features=VALUES, paths=np.array(["a", "b"]))


def wrong_places(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content["features"], content["coords"] = VALUES, np.zeros((3, 2))


def other_names(path: Path) -> None:
    with h5py.File(path, "w") as content:
        content["embeddings"] = VALUES


def cut(path: Path) -> None:
    write_hdf5(path)
    path.write_bytes(path.read_bytes()[:-700])


def no_hdf5(path: Path) -> None:
    path.write_bytes(pickle.dumps(VALUES))


REFUSED: dict[Callable[[Path], None], tuple[str, str]] = {
    pickled: ("v.npz", "pickled objects, which are never read"), of_text: ("v.npz", "no numbers"),
    of_objects: ("v.h5", "no numbers"), of_references: ("v.h5", "no numbers"),
    external_link: ("v.h5", "names features, which is not in it"),
    soft_link: ("v.h5", "names features, which is not in it"),
    external_storage: ("v.h5", "features in another file"), virtual: ("v.h5", "in another file"),
    endless: ("v.h5", "would unpack to"), packed: ("v.h5", "would unpack to"),
    one_piece: ("v.h5", "packed in pieces"), twice: ("v.npz", "'a' is there twice"),
    too_few_names: ("v.npz", "2 names and 4 vectors"), wrong_places: ("v.h5", "coords are not a pair"),
    other_names: ("v.h5", "has no array 'features' but 'embeddings'"),
    cut: ("v.h5", "cannot be read as HDF5"), no_hdf5: ("v.h5", "cannot be read as HDF5"),
}  # fmt: skip


@pytest.mark.parametrize("harm", REFUSED, ids=lambda harm: harm.__name__)
def test_what_is_no_vectors_is_refused(harm: Callable[[Path], None], tmp_path: Path) -> None:
    name, fragment = REFUSED[harm]
    harm(tmp_path / name)
    refused(tmp_path / name, str(tmp_path / name), fragment)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("path,a,mark\n1,2,benign\n", "the column 'mark' has 'benign' in it (of 1)"),
        ("path,a,Label\n1,2,0\n", "has a column 'Label', which is no feature"),
        ("Unnamed: 0,path,a\n0,1,2\n", "has a column 'Unnamed: 0', which is no feature"),
        ("path,a,b\n1,2,\n", "the column 'b' is empty (of 1)"),
        (",path,a\n0,1,2\n", "a column without a name"),
        ("file,a\n1,2\n", "has no column 'path'"),
        ("path,a\n1,2,3\n", "row 2: has 3 cells"),
        ("path,a\n ,2\n", "the path of its vector 1 is empty"),
        ("path,a\n1,2\n1,3\n", "'1' is there twice, as its vectors 1 and 2"),
        ("path\n1\n", "not vectors in rows"),
        ("path,a\n1,1_000\n", "the column 'a' has '1_000'"),
        ("", "has no column 'path'"),
        ("path,a\n1,\0\n", "is no text but a binary file"),
    ],
)
def test_cells_of_a_csv_are_numbers(text: str, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(text)
    refused(tmp_path / "v.csv", fragment)


def test_columns_of_parquet_are_numbers(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame().assign(mark="benign").to_parquet(tmp_path / "v.parquet")
    refused(tmp_path / "v.parquet", "the column 'mark' is of type")
    frame().assign(label=1).to_parquet(tmp_path / "v.parquet")
    refused(tmp_path / "v.parquet", "has a column 'label', which is no feature")
    pandas.DataFrame({"path": ["a", "b"], "v": [[1.0], [1.0, 2.0]]}).to_parquet(tmp_path / "v.parquet")
    refused(tmp_path / "v.parquet", "lists are of several lengths")
    pandas.DataFrame({"path": [1, 2], "v": [1.0, 2.0]}).to_parquet(tmp_path / "v.parquet")
    refused(tmp_path / "v.parquet", "'path' is of type int64")
    (tmp_path / "v.parquet").write_bytes(b"PAR1 but no more")
    refused(tmp_path / "v.parquet", "cannot be read as Parquet")
    constant = pandas.DataFrame({"path": "a", **{f"f{n}": np.zeros(2**16, np.float32) for n in range(400)}})
    constant.to_parquet(tmp_path / "v.parquet")
    refused(tmp_path / "v.parquet", "would unpack to")


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "v.parquet").write_bytes(b"PAR1")
    refused(tmp_path / "v.parquet", "pip install 'bccli[parquet]'")


def test_files_of_a_folder_go_together(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    np.savez(tmp_path / "b.npz", features=VALUES[:, :2], paths=np.array(["x", "y", "z", "u"]))
    refused(tmp_path, "b.npz: its vectors have 2 numbers, and those of", "a.csv 3")
    np.savez(tmp_path / "b.npz", features=VALUES[:1], paths=np.array([NAMES[2]]))
    refused(tmp_path, f"{NAMES[2]!r} is in a.csv as well")
    np.savez(tmp_path / "b.npz", features=VALUES)
    refused(tmp_path, "a.csv and b.npz are of two kinds")
    (tmp_path / "b.npz").unlink()
    assert open_vectors(tmp_path).names == NAMES


def test_what_is_no_vectors_by_its_name_says_what_is(tmp_path: Path) -> None:
    refused(tmp_path, "has no files of vectors in it; put .h5")
    (tmp_path / "h5_files").mkdir()
    write_hdf5(tmp_path / "h5_files" / "s.h5")
    refused(tmp_path, f"name {tmp_path / 'h5_files'}")
    refused(tmp_path / "nowhere.h5", "no such file")
    refused(tmp_path / "nowhere", "no such file or folder")
    (tmp_path / "s.pt").write_bytes(b"")
    refused(tmp_path / "s.pt", "a pickle of PyTorch, which is never opened")
    (tmp_path / "s.txt").write_bytes(b"")
    refused(tmp_path / "s.txt", "none of .h5")


# Damage


@given(count=st.integers(1, 400), length=st.integers(0, 300), seed=st.integers(0, 99))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_of_any_length_are_read(count: int, length: int, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    names = [f"ü{number}" + "x" * int(rng.integers(length + 1)) for number in range(count)]
    with h5py.File(tmp_path / "v.h5", "w") as content:
        content["features"] = np.ones((count, 2), np.float32)
        content.create_dataset("paths", data=names, dtype=h5py.string_dtype())
    assert named(tmp_path / "v.h5").names == tuple(names)


def test_packed_names_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as content:
        content["features"] = VALUES
        content.create_dataset("paths", data=list(NAMES), dtype=h5py.string_dtype(), compression="gzip")
    refused(tmp_path / "v.h5", "texts of any length that are packed; write them unpacked")


@given(
    kind=st.sampled_from(["hdf5", "npz", "csv", "parquet"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
    end=st.floats(0.2, 3),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused(
    kind: str, changes: list[tuple[float, int]], end: float, tmp_path: Path
) -> None:
    """HDF5's library crashes, or never ends, where it reads such names itself."""
    name, write = WRITERS[kind]
    write(tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    (tmp_path / name).write_bytes(data[: int(end * len(data))])
    try:
        found = open_vectors(tmp_path / name)
    except DataError:
        return
    for one in (*found.tables, *found.slides):
        with suppress(DataError):
            assert one.values[np.arange(one.values.shape[0])].shape == one.values.shape
