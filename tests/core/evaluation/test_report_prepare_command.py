"""The call of `prepare` in a report: options that are there, with the values of the settings."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from bccli.cli import cli
from bccli.core.data.dataset import Dataset
from bccli.core.datasets import Reading
from bccli.core.evaluation.report.prepare_command import prepare_command
from bccli.core.imaging.denoising import Denoising
from bccli.core.imaging.equalising import Clahe
from bccli.core.imaging.preparation import Patches, Preparation
from bccli.core.imaging.regions import Region
from bccli.core.preparation.division import Division
from bccli.core.preparation.request import Request


def test_the_call_of_prepare_is_one(tmp_path: Path) -> None:
    """Whatever the settings of a dataset, each is an option of `prepare` that takes the value."""
    division = Division(
        "patient",
        (60, 20, 20),
        ("a b", "c"),
        ("40",),
        12,
        100,
        0,
        (("normal", 0.25),),
        7,
        "paper",
        False,
        "drop",
    )
    preparation = Preparation(
        patches=Patches(64, 32, 0.25, 0.5, 0.1, True), size=(328, 328), fit="pad", interpolation="area",
        clahe=Clahe(),
        region=Region("crop", 3, 0.25), aspect=(0.4, 1.5), centre=(320, 320), denoise=Denoising(),
    )  # fmt: skip
    reading = Reading(("40", "100"), r"(p\d+)_", None, "binary", 99, 9, 7, "paper")
    settings = Request("phantom", tmp_path, division, preparation, reading, "malignant").to_json()
    info = SimpleNamespace(settings={**settings, "listing": "0"}, dataset="phantom")
    words = prepare_command(cast(Dataset, SimpleNamespace(info=info, root=tmp_path)))
    params = cli.commands["prepare"].make_context("prepare", [*words[2:]]).params
    assert params["ratios"] == (60, 20, 20)
    assert params["test_patients"] == ("a b", "c")
    assert params["magnification"] == ("40", "100")
    assert params["keep"] == (("normal", 0.25),)
    assert params["size"] == (328, 328)
    assert params["aspect"] == (0.4, 1.5)
    assert params["group_similar"] is False
    given = {"clahe": True, "denoise": True, "roi": "crop", "margin": 3, "context": 0.25, "patch": 64,
             "stride": 32, "seed": 7, "min_tissue": 0.25, "min_nuclei": 0.5, "min_breast": 0.1,
             "to_edges": True, "patients": 9, "count": 99,
             "conflicts": "drop", "patient_regex": r"(p\d+)_", "protocol": "paper", "center_crop": (320, 320),
             "sample": 100}  # fmt: skip
    assert {name: params[name] for name in given} == given
