"""What the tests share is whole, whoever asks for it first, and stays as it is."""

from pathlib import Path

import pytest

from tests.conftest import Bccli, tree
from tests.library import Library, bccli_in
from tests.placeholders import TFLITE


def test_runs_have_real_tflite_files_even_where_a_test_has_stand_ins(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    command = "train", prepared, tmp_path / "run", "--epochs", 1, "--trainable", "none"
    bccli(*command)
    assert (tmp_path / "run" / "model.tflite").read_bytes() == TFLITE
    bccli_in(*command, "--overwrite")
    assert (tmp_path / "run" / "model.tflite").read_bytes() != TFLITE


def test_a_folder_is_filled_once_and_anew_where_that_failed(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    library, filled = Library(tmp_path_factory, shared=False), []
    name = tmp_path.name

    def fill(place: Path) -> None:
        filled.append(place)
        (place / f"{len(filled)}.txt").write_text("x")
        if len(filled) == 1:
            raise ValueError("stopped half-way")

    with pytest.raises(ValueError, match="half-way"):
        library.folder(name, fill)
    library.copy(name, fill, tmp_path / "copy")
    (tmp_path / "copy" / "2.txt").write_text("changed")
    assert tree(library.folder(name, fill)) == {"2.txt": b"x"}
    assert len(filled) == 2
