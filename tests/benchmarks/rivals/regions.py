"""The region of one mammogram after another, from DICOM files to pixels: bccli's, or plain OpenCV calls.

Usage: python -m tests.benchmarks.rivals.regions bccli|opencv FOLDER RESULT.npy
FOLDER holds NUMBER.dcm and NUMBER_mask.dcm. Prints {"seconds": …} as its last line: the median of one run
over each mammogram, after a first one that counts for nothing.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE, CENTRE = 328, 320


def with_bccli(image: Path, mask: Path) -> np.ndarray:
    """What `prepare` and `predict` do."""
    from bccli.core.datasets.loading import load_mask
    from bccli.core.imaging.denoising import Denoising
    from bccli.core.imaging.equalising import Clahe
    from bccli.core.imaging.formats.decoding import decode_deep
    from bccli.core.imaging.preparation import Preparation, prepare_image
    from bccli.core.imaging.regions import Region

    steps = Preparation(
        size=(SIZE, SIZE),
        clahe=Clahe(),
        region=Region("crop"),
        aspect=(0.4, 1.5),
        centre=(CENTRE, CENTRE),
        denoise=Denoising(),
    )
    pixels = decode_deep(image)
    (piece,) = prepare_image(pixels, steps, load_mask(mask, mask.name, pixels.shape[:2])[0]).patches
    return piece.image[:, :, 0]


def with_opencv(image: Path, mask: Path) -> np.ndarray:
    """The CBIS-DDSM paper's section 4.3.1, call by call on the whole image."""
    import cv2
    import pydicom

    pixels = pydicom.dcmread(image).pixel_array
    grey = cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    grey = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
    left, top, width, height = cv2.boundingRect(pydicom.dcmread(mask).pixel_array)
    region = cv2.normalize(grey[top : top + height, left : left + width], None, 0, 255, cv2.NORM_MINMAX)
    if not 0.4 <= width / height <= 1.5:
        raise SystemExit("excluded")
    method = cv2.INTER_AREA if min(width, height) >= SIZE else cv2.INTER_CUBIC
    resized = cv2.resize(region, (SIZE, SIZE), interpolation=method)
    edge = (SIZE - CENTRE) // 2
    return cv2.fastNlMeansDenoising(np.ascontiguousarray(resized[edge : edge + CENTRE, edge : edge + CENTRE]))


SIDES: dict[str, Callable[[Path, Path], np.ndarray]] = {"bccli": with_bccli, "opencv": with_opencv}


def main(side: str, folder: Path, result: Path) -> None:
    """Prepare every mammogram once, save the regions and print the seconds."""
    prepare = SIDES[side]
    images = sorted(path for path in folder.glob("[0-9]*.dcm") if "mask" not in path.name)
    pairs = [(path, path.with_name(f"{path.stem}_mask.dcm")) for path in images]
    prepare(*pairs[0])
    seconds, regions = [], []
    for pair in pairs:
        started = time.perf_counter()
        regions.append(prepare(*pair))
        seconds.append(time.perf_counter() - started)
    np.save(result, np.stack(regions))
    print(json.dumps({"seconds": statistics.median(seconds)}))


if __name__ == "__main__":
    _, _side, _folder, _result = sys.argv
    main(_side, Path(_folder), Path(_result))
