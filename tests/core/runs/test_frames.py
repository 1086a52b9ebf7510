"""Frames of pandas say what the tables say from which they come."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import Sample
from bccli.core.runs.predictions import parse_predictions

TABLE = """path,split,fold,patient,source,label,predicted,p_NA,p_null,magnification
nan,test,0,007,,NA,null,0.25,0.75,40
b.png,test,1,,s.png,null,null,0.5,0.5,
"""


def read(table: str) -> pandas.DataFrame:
    return pandas.read_csv(io.StringIO(table), dtype=str, keep_default_na=False)


def test_predictions_are_framed_as_their_table_reads() -> None:
    """Classes and files may be named like what other readers take for nothing."""
    labelled = TABLE.replace("NA", "benign").replace("null", "malignant")
    frame, wanted = parse_predictions(io.StringIO(labelled), "table").frame(), read(labelled)
    for name in ("path", "patient", "source", "label", "predicted", "magnification", "fold"):
        assert frame[name].tolist() == wanted[name].tolist()
    assert frame["p_malignant"].tolist() == [0.75, 0.5]


def test_a_table_without_probabilities_has_no_such_columns() -> None:
    predictions = parse_predictions(io.StringIO("path,label,predicted\na.png,x,y\nb.png,y,y\n"), "table")
    frame = predictions.frame()
    assert frame["patient"].tolist() == ["", ""]
    assert not [name for name in frame if name.startswith("p_")]
    assert len(replace(predictions, further={}).where(predictions.labels > 5).frame()) == 0


def test_a_manifest_is_framed_as_it_reads() -> None:
    samples = (
        Sample("a.png", "NA", patient="007", row=0, col=64, sha256="0" * 64, subtype="nan"),
        Sample("b.png", "benign", fold=2),
    )
    frame = Dataset(Path("data"), {}, samples, "").frame()
    assert frame["label"].tolist() == ["NA", "benign"]
    assert frame["patient"].tolist() == ["007", ""]
    assert frame["subtype"].tolist() == ["nan", ""]
    assert frame["row"].dtype == "Int64"
    assert frame["row"].isna().tolist() == [False, True]
    assert frame["fold"].tolist()[1] == 2


@pytest.mark.parametrize("module", ["bccli.core.data.dataset", "bccli.core.runs.predictions"])
def test_who_asks_for_no_frame_needs_no_pandas(module: str) -> None:
    program = f"import sys, {module}; print('pandas' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
