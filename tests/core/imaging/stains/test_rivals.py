"""The same numbers as other people's implementations, where those are installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.phantoms import draw_phantom
from bccli.core.imaging.stains.densities import densities_of
from bccli.core.imaging.stains.fits import StainFit
from bccli.core.imaging.stains.macenko import REFERENCE, measure_macenko, normalise_macenko
from bccli.core.imaging.stains.vahadane import measure_vahadane
from tests.core.imaging.slides import PURPLE, degrees_between, difference, draw_amounts, farthest, stain


@pytest.fixture
def torchstain() -> Any:
    """torchstain's NumPy version of Macenko's method, which needs no torch."""
    reason = "torchstain is not installed"
    return pytest.importorskip("torchstain.numpy.normalizers.macenko", reason=reason).NumpyMacenkoNormalizer


def compare(torchstain: Any, image: np.ndarray, target: np.ndarray | None) -> tuple[float, float]:
    """The angle in degrees and the mean difference in grey levels between torchstain and bccli."""
    rival = torchstain()
    rival.fit(image)
    theirs = StainFit.of(rival.HERef[:, 0], rival.HERef[:, 1], rival.maxCRef)
    fit = measure_macenko(image)
    assert fit is not None
    rival = torchstain()
    to: StainFit | None = REFERENCE
    if target is not None:
        rival.fit(target)
        to = measure_macenko(target)
    assert to is not None
    result, _, _ = rival.normalize(image, stains=False)
    return farthest(theirs, fit), difference(normalise_macenko(image, fit, to), result)


@pytest.mark.slow
def test_torchstain_on_real_slides(torchstain: Any, real_data: Path) -> None:
    files = sorted((real_data / "breakhis").rglob("*.png"))
    target = decode(files[len(files) // 2])
    for file in files[::3]:
        for to in (None, target):
            angle, levels = compare(torchstain, decode(file), to)
            assert angle <= 1, file
            assert levels <= 1, file


@pytest.mark.slow
@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_torchstain_on_a_large_phantom(torchstain: Any, label: str) -> None:
    image, _ = draw_phantom("histology", label, seed=0, patient=1, slide=1, number=1, size=(2048, 1536))
    angle, levels = compare(torchstain, image, None)
    assert angle <= 1
    assert levels <= 1


def test_torchstain_is_met_to_the_pixel_where_nothing_is_sampled(torchstain: Any) -> None:
    image = stain(draw_amounts(0), PURPLE)
    angle, levels = compare(torchstain, image, None)
    assert angle < 1e-4
    assert levels < 0.001  # float32 against float64 at the edge between two levels


def test_scikit_learn_s_dictionary() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    image, _ = draw_phantom("histology", "benign", seed=0, patient=1, slide=1, number=1, size=(48, 48))
    densities = np.maximum(densities_of(image.reshape(-1, 3)), 0)
    learner = decomposition.DictionaryLearning(
        2, alpha=0.1, fit_algorithm="cd", positive_code=True, positive_dict=True, max_iter=200, tol=1e-9,
        transform_algorithm="lasso_cd", random_state=0,
    )  # fmt: skip
    theirs = learner.fit(densities[densities[:, 1] >= 0.15]).components_
    haematoxylin, eosin = theirs[np.argsort(-theirs[:, 0])]
    fit = measure_vahadane(image)
    assert fit is not None
    assert degrees_between(fit.haematoxylin, haematoxylin) < 0.2
    assert degrees_between(fit.eosin, eosin) < 0.2
