"""Macenko's stain normalisation of one large image, measured in the process: bccli's or another package's.

Usage: python -m tests.benchmarks.rivals.macenko bccli|torchstain|macenko-pca IMAGE.npy RESULT.npy
Prints {"seconds": …, "stains": [[…], […]]} as its last line: the median of several runs after a first
one, each with everything from pixels to pixels, and the two stain vectors.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RUNS = 7

Normalise = Callable[[np.ndarray], np.ndarray]


def with_bccli(image: np.ndarray) -> tuple[list[list[float]], Normalise]:
    """The image's stains, and the function that normalises it to the authors' target."""
    from bccli.core.imaging.stains.macenko import REFERENCE, measure_macenko
    from bccli.core.imaging.stains.normalisation import normalise_stain

    fit = measure_macenko(image)
    if fit is None:
        raise SystemExit("the image has too little tissue")
    return fit.matrix.T.tolist(), lambda pixels: normalise_stain(pixels, "macenko", REFERENCE)[0]


def with_torchstain(image: np.ndarray) -> tuple[list[list[float]], Normalise]:
    """The same; that target is torchstain's default. The images of single stains are not asked for."""
    from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

    fitted = NumpyMacenkoNormalizer()
    fitted.fit(image)
    normalizer = NumpyMacenkoNormalizer()
    return fitted.HERef.T.tolist(), lambda pixels: normalizer.normalize(pixels, stains=False)[0]


def with_macenko_pca(image: np.ndarray) -> tuple[list[list[float]], Normalise]:
    """The same; macenko_pca measures and separates stains, and the two steps in between are NumPy's."""
    import macenko_pca

    from bccli.core.imaging.stains.macenko import REFERENCE

    target = np.eye(3, dtype=np.float32)
    target[:, :2] = REFERENCE.matrix

    def measure(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(macenko_pca.rgb_separate_stains_macenko_pca(pixels.astype(np.float32)))

    def normalise(pixels: np.ndarray) -> np.ndarray:
        stains = measure(pixels)
        amounts = macenko_pca.rgb_color_deconvolution(pixels.astype(np.float32), stains)
        amounts[..., :2] *= REFERENCE.maxima / np.percentile(amounts[..., :2], 99, axis=(0, 1))
        return np.clip(macenko_pca.reconstruct_rgb(amounts, target), 0, 255).astype(np.uint8)

    return measure(image)[:, :2].T.tolist(), normalise


SIDES = {"bccli": with_bccli, "torchstain": with_torchstain, "macenko-pca": with_macenko_pca}


def main(side: str, source: Path, result: Path) -> None:
    """Normalise several times, save the result and print the seconds."""
    image = np.load(source)
    stains, normalise = SIDES[side](image)
    np.save(result, normalise(image))
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        normalise(image)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": statistics.median(seconds), "stains": stains}))


if __name__ == "__main__":
    _, _side, _source, _result = sys.argv
    main(_side, Path(_source), Path(_result))
