"""Prepared images as batches of 32 in a random order, as training reads them: from the pack, or PNG files.

Usage: python -m tests.benchmarks.rivals.reading pack|png DATA PASSES
Prints {"seconds": …, "hash": …} as its last line: the CPU time for an image, start and imports left out, and
a hash of all pixels.
"""

import hashlib
import json
import resource
import sys
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import load_dataset
from bccli.core.data.image_batches import Images, open_images

BATCH = 32


def cpu_seconds() -> float:
    """What this process has taken so far, threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(side: str, data: Path, passes: int) -> None:
    """Read all images so often, and print the seconds of one."""
    if side == "png":
        Images.pack = None  # type: ignore[assignment]
    images = open_images(data, load_dataset(data).samples)
    count, rng = len(images.samples), np.random.default_rng(0)
    began = cpu_seconds()
    for _ in range(passes):
        for _ in images.arrays(rng.permutation(count), BATCH):
            pass
    seconds = (cpu_seconds() - began) / (passes * count)
    digest = hashlib.sha256()
    for batch in images.arrays(np.arange(count), BATCH):
        digest.update(batch.data)
    print(json.dumps({"seconds": seconds, "hash": digest.hexdigest()}))


if __name__ == "__main__":
    _, _side, _data, _passes = sys.argv
    main(_side, Path(_data), int(_passes))
