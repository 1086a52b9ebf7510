"""Close hashes by bands, compared with all against all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.imaging.close_hashes import close_pairs


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
