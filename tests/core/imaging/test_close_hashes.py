"""Close hashes by bands, compared with all against all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging import close_hashes
from bccli.core.imaging.close_hashes import close_pairs, closest


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 6))
def test_it_finds_what_comparing_all_with_all_finds(seed, images, windows):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, 4, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (images, windows, 6)).astype(np.uint64)
    kept = rng.random(flips.shape) < 0.5
    probes = centres[rng.integers(0, 4, (images, windows))]
    for flip in np.where(kept, flips, 0).transpose(2, 0, 1):
        probes = probes ^ flip
    wanted = rng.random(images) < 0.7
    distances = np.bitwise_count(probes[:, :, None] ^ probes[None, None, :, 0]).min(axis=1)
    lowest = np.minimum(distances, distances.T)
    expected = {
        (one, other): lowest[one, other]
        for one in range(images)
        for other in range(one + 1, images)
        if lowest[one, other] <= 4 and (wanted[one] or wanted[other])
    }
    found = close_pairs(probes, wanted)
    ordered = np.sort(np.stack([found.one, found.other], axis=1), axis=1).tolist()
    assert dict(zip(map(tuple, ordered), found.distance.tolist(), strict=True)) == expected
    assert len(ordered) == len(expected)
    hashes = probes[found.one, found.window] ^ probes[found.other, 0]
    assert (np.bitwise_count(hashes) == found.distance).all()


@pytest.mark.parametrize("cells", [0, close_hashes._CELLS], ids=["bands", "all with all"])
@pytest.mark.parametrize("cost", [0, close_hashes._COST])
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40))
def test_the_closest_is_the_first_of_the_nearest(cells, cost, seed, asked, others):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, 4, dtype=np.uint64)

    def draw(count):
        flips = np.uint64(1) << rng.integers(0, 64, (count, 6)).astype(np.uint64)
        kept = np.where(rng.random(flips.shape) < 0.4, flips, np.uint64(0))
        return centres[rng.integers(0, 4, count)] ^ np.bitwise_xor.reduce(kept, axis=1)

    ours, theirs = draw(asked), draw(others)
    expected = []
    for position, hash in enumerate(ours):
        distances = np.bitwise_count(theirs ^ hash)
        if len(theirs) and distances.min() <= 4:
            expected.append((position, int(distances.argmin())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(close_hashes, "_CELLS", cells)
        patch.setattr(close_hashes, "_COST", cost)
        found = closest(ours, theirs)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected
