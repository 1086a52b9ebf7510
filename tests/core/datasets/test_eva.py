"""kaiko-eva's splits, on folders of the real names: no pixel is needed to part them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bccli.core.data.manifest import SPLITS
from bccli.core.data.splits import TEST, TRAIN
from bccli.core.datasets import Reading
from bccli.core.preparation.division import Division
from bccli.core.preparation.request import Request, look
from tests.core.data.breakhis_roster import names


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("eva") / "BreaKHis_v1"
    root.mkdir()
    for name in names(40):
        (root / name).write_bytes(b"x")
    return root


@pytest.fixture(scope="module")
def bach(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("eva") / "Photos"
    for folder, prefix in (("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"), ("Normal", "n")):
        (root / folder).mkdir(parents=True)
        for number in range(1, 101):
            (root / folder / f"{prefix}{number:03d}.tif").write_bytes(b"x")
    (root / "Benign" / "thumbnail.tif").write_bytes(b"x")
    return root


def looked(dataset, source, protocol, **reading):
    division = Division("official", (80, 20, 0), protocol="paper")
    if protocol == "honest":
        division = Division(ratios=(60, 15, 25))
    told = Reading(task="eva", protocol=protocol, **reading)
    return look(Request(dataset, source, division, reading=told))


def test_breakhis_has_evas_slides_in_test_and_val_by_patient(breakhis):
    found, parts = looked("breakhis", breakhis, "paper", magnifications=("40",))
    counts = Counter(SPLITS[split] for split in parts.splits.tolist())
    assert counts["test"] == 339
    assert counts["train"] + counts["val"] == 1132
    assert found.classes == ("fibroadenoma", "tubular_adenoma", "ductal_carcinoma", "mucinous_carcinoma")
    train, val = (set(found.patients[parts.splits == split].tolist()) for split in (TRAIN, 1))
    assert not train & val
    crossing = next(note for note in parts.notes if "in test and in train" in note)
    assert ": 4 of " in crossing
    for case in ("16184", "18842", "19979", "23060"):
        assert case in crossing


def test_breakhis_under_honest_has_no_case_on_both_sides(breakhis):
    found, parts = looked("breakhis", breakhis, "honest", magnifications=("40",))
    assert len(found.labels) == 1471
    tested = set(found.patients[parts.splits == TEST].tolist())
    assert not tested & set(found.patients[parts.splits != TEST].tolist())


def test_bach_has_evas_places_in_test(bach):
    found, parts = looked("bach", bach, "paper")
    tested = parts.splits == TEST
    assert (len(tested), int(tested.sum())) == (400, 132)
    assert np.bincount(found.labels[tested]).tolist() == [23, 48, 30, 31]
    assert found.classes == ("normal", "benign", "in_situ", "invasive")
    (left_out,) = [remark for remark in found.tally.remarked() if remark.kind == "other_task"]
    assert left_out.count == 1
