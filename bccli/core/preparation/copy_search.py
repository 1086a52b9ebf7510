"""The search of a raw dataset for images that show one picture, before its splits are planned."""

from pathlib import Path

import numpy as np

from bccli.core.data.dataset import DatasetInfo
from bccli.core.data.lookalikes import Lookalikes, find_lookalikes
from bccli.core.preparation.request import Request, drawn_samples, sensible_workers
from bccli.core.preparation.shards import held
from bccli.core.preparation.source_hashes import (
    Pass,
    hash_copies,
    hash_images,
    hashes_folder,
    read_lookalikes,
    write_lookalikes,
)
from bccli.core.preparation.split_plan import draw_and_plan, takes_own_split
from bccli.core.preparation.survey import Survey
from bccli.core.progress import Watcher
from bccli.core.runs.shard import Shard


def look_for_copies(
    request: Request,
    found: Survey,
    out: Path,
    shard: Shard,
    workers: int,
    watcher: Watcher,
    *,
    whole: bool = False,
) -> Lookalikes | None:
    """Find the raw images that show one picture; None where it does not matter, or no files can be equal.

    Where all patients are known, only the files of different patients are compared, unless the `whole`
    dataset is asked for, whose pixels are then compared.
    """
    division = request.division
    unknown, suspects = bool((found.patients < 0).any()), _suspects(found)
    drops = division.conflicts == "drop"
    if not (drops or whole) and not (division.keeps_groups and (unknown or suspects.any())):
        return None
    draw_and_plan(found, division)  # refuses an impossible division before anything is written
    folder = hashes_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    whole, similar = whole or unknown or drops, unknown and division.joins_similar
    # a command that was refused later may have left its answer, which serves the same question only
    path = folder / f"lookalikes-{found.listing[:16]}-{whole:d}{similar:d}.npz"
    if known := read_lookalikes(path, len(found.labels)):
        return known
    work = Pass(
        lambda: drawn_samples(request, None), len(found.labels), request.source, request.reading, folder
    )
    hashes = None
    if whole:
        count = sensible_workers(request.preparation, len(found.labels), workers)
        hashes = hash_images(work, shard, count, watcher)
    with held(out, shard, watcher):
        if known := read_lookalikes(path, len(found.labels)):
            return known
        hashes = hashes or hash_copies(work, suspects)
        lookalikes = find_lookalikes(hashes, found.patients, similar=similar)
        write_lookalikes(path, lookalikes)
    return lookalikes


def should_divide_again(request: Request, found: Survey, done: DatasetInfo) -> bool:
    """Whether identical pixels are in two splits, which a comparison of files alone cannot prevent."""
    division = request.division
    compared_all = bool((found.patients < 0).any()) or division.conflicts == "drop"
    if compared_all or takes_own_split(found, division) or not division.keeps_groups:
        return False
    return any(leak["identical"] for leak in done.audit.values())


def _suspects(found: Survey) -> np.ndarray:
    """Images whose file is as large as one of another patient, as a mask (n,)."""
    pairs = np.unique(np.stack([found.sizes, found.patients]), axis=1)
    sizes, owners = np.unique(pairs[0], return_counts=True)
    suspects: np.ndarray = (found.sizes > 0) & np.isin(found.sizes, sizes[owners > 1])
    return suspects
