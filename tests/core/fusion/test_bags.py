"""Patches find their image and their place in it, whatever order they come in."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.fusion.bags import group

PATCHES = [
    Sample(
        path=f"images/{variant}/{source}_{row}_{col}.png",
        label=label,
        source=source,
        variant=variant,
        row=row,
        col=col,
    )
    for source, label, rows in (("x.tif", "a", 3), ("y.tif", "b", 2))
    for variant in (0, 1)
    for row in range(0, 512 * rows, 512)
    for col in range(0, 1024, 256)
]


@given(st.permutations(range(len(PATCHES))))
def test_a_permuted_manifest_gives_the_same_images(order: list[int]) -> None:
    samples = [PATCHES[place] for place in order]
    grouping = group(samples, np.zeros(len(samples)))
    assert sorted(grouping.keys) == ["x.tif", "x.tif#1", "y.tif", "y.tif#1"]
    assert grouping.members.shape == (4, 12)
    for image, key in enumerate(grouping.keys):
        patches = [samples[member] for member in grouping.of(image)]
        source, _, variant = key.partition("#")
        assert {(patch.source, patch.variant) for patch in patches} == {(source, int(variant or 0))}
        assert len(patches) == (12 if source == "x.tif" else 8)
        assert patches == sorted(patches, key=lambda patch: (patch.row, patch.col))


@pytest.mark.parametrize(
    ("change", "part", "fragment"),
    [
        ({"label": "b"}, 0, "several labels"),
        ({"row": 512, "col": 0}, 0, "the same position"),
        ({}, 1, "several splits"),
    ],
)
def test_patches_that_cannot_form_an_image_are_refused(change: dict, part: int, fragment: str) -> None:
    samples = [replace(PATCHES[0], **change), *PATCHES[1:]]
    parts = np.zeros(len(samples))
    parts[0] = part
    with pytest.raises(DataError, match=f"x.tif.*{fragment}.*prepare the dataset again"):
        group(samples, parts)


def test_an_image_of_unknown_source_is_its_own() -> None:
    samples = [Sample(path=name, label="a") for name in ("a.png", "b.png")]
    assert group(samples, np.zeros(2)).keys == ("a.png", "b.png")
