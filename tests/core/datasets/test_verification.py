"""Downloads, whole and otherwise, against tables that are given here."""

from collections.abc import Iterable

import pytest

from bccli.core.catalog import DATASETS, Edition
from bccli.core.data.manifest import Sample
from bccli.core.datasets.verification import REMARKS, Tally, Verification, tally_of, verify

TABLE = Edition("Tiny", (("40", "benign", 3), ("40", "malignant", 2), ("100", "benign", 1)))
NUMBERED = Edition(
    "Numbered", (("", "normal", 3), ("", "benign", 2)), stems=(("n", 3), ("b", 2)), sign=r"[nb]\d+"
)


def samples(**numbers: int) -> list[Sample]:
    """Samples by class and magnification: samples(benign40=3)."""
    return [
        Sample(label=key.rstrip("0123456789"), magnification=key.lstrip("abcdefghijklmnopqrstuvwxyz"),
               source=f"{key}_{number}.png")
        for key, count in numbers.items() for number in range(count)
    ]  # fmt: skip


def named(*names: str) -> list[Sample]:
    """Samples whose class is their first letter's."""
    return [Sample(label={"n": "normal", "b": "benign"}[name[0]], source=f"Photos/{name}") for name in names]


def verified(found: Iterable[Sample], *editions: Edition, only: tuple[str, ...] = ()) -> Verification:
    result = verify(tally_of(found), editions, only)
    assert result is not None
    return result


def test_a_whole_download_is_not_remarked_upon() -> None:
    result = verified(samples(benign40=3, malignant40=2, benign100=1), TABLE)
    assert (result.complete, result.sentences()) == (True, [])
    assert (result.found, result.expected) == (6, 6)


def test_a_partial_download_says_which_share_is_there() -> None:
    result = verified(samples(benign40=2, malignant40=2), TABLE)
    assert not result.complete
    (sentence,) = result.sentences()
    assert "Tiny is not complete here: 4 of 6 images" in sentence
    assert "40×: 2 of 3 benign; 100×: 0 of 1 benign" in sentence
    assert "malignant" not in sentence


def test_too_many_images_are_named_by_their_share() -> None:
    (sentence,) = verified(samples(benign40=3, malignant40=4, benign100=1), TABLE).sentences()
    assert sentence == "there is more than Tiny has: 40×: 4 instead of 2 malignant"


def test_only_the_magnifications_asked_for_are_expected() -> None:
    result = verified(samples(benign40=3, malignant40=2), TABLE, only=("40",))
    assert result.complete
    assert result.expected == 5


def test_a_total_alone_is_compared_in_all() -> None:
    whole = Edition("Total", (("", "", 5),))
    (sentence,) = verified(samples(benign40=2, malignant4=1), whole).sentences()
    assert "3 of 5 images" in sentence
    assert verify(tally_of(samples(benign40=2)), [whole], ["40"]) is None


def test_numbered_files_are_missed_by_name() -> None:
    result = verified(named("n001.tif", "n003.tif", "b001.tif", "b002.tif", "b003.tif"), NUMBERED)
    assert (result.missing, result.extra) == (("n002",), ("Photos/b003.tif",))
    assert any("missing from Numbered: 1 (n002)" in sentence for sentence in result.sentences())
    assert any("not of Numbered by name: 1 (Photos/b003.tif)" in sentence for sentence in result.sentences())


def test_one_replaced_by_another_is_not_complete_though_the_numbers_are_right() -> None:
    result = verified(named("n001.tif", "n002.tif", "n004.tif", "b001.tif", "b002.tif"), NUMBERED)
    assert result.found == result.expected
    assert not result.complete


def test_the_edition_is_the_smallest_that_has_room() -> None:
    small, large = Edition("Small", (("", "", 10),)), Edition("Large", (("", "", 100),))
    for number, name in ((4, "Small"), (10, "Small"), (11, "Small"), (40, "Large"), (500, "Large")):
        assert verified(samples(benign=number), large, small).edition == name


def test_the_edition_goes_by_the_names() -> None:
    other = Edition("Other", (("", "", 50),), sign=r"t\d+")
    assert verified(named("n001.tif", "b001.tif"), other, NUMBERED).edition == "Numbered"
    assert verified([Sample(label="normal", source="t1.tif")], NUMBERED, other).edition == "Other"


def test_an_empty_file_is_there_but_not_whole() -> None:
    tally = tally_of(samples(benign40=3, malignant40=2))
    tally.add(Sample(label="benign", magnification="100", source="lost.png"), 0)
    result = verify(tally, [TABLE])
    assert result is not None
    assert (result.found, result.complete) == (6, False)
    assert result.sentences() == ["empty files (0 bytes), to be downloaded again: 1 (lost.png)"]


def test_nothing_known_is_nothing_verified() -> None:
    assert verify(tally_of(samples(benign=3)), []) is None
    assert verify(Tally(), [TABLE]) is None


def test_json_has_every_share() -> None:
    value = verified(samples(benign40=3), TABLE).to_json()
    assert value["shares"][1] == {"where": "40", "label": "malignant", "found": 0, "expected": 2}
    assert (value["edition"], value["complete"], value["images"], value["expected"]) == ("Tiny", False, 3, 6)


def test_remarks_are_counted_and_the_first_named() -> None:
    tally = Tally()
    for number in range(5):
        tally.remark(f"{number}.png", "copy")
    tally.remark("x.png")
    assert [remark.kind for remark in tally.remarked()] == ["unknown", "copy"]
    assert tally.remarked()[1].sentence() == f"{REMARKS['copy']}: 5 (0.png, 1.png, 2.png, …)"


# The facts

BREAKHIS = {"40": (625, 1370), "100": (644, 1437), "200": (623, 1390), "400": (588, 1232)}


@pytest.mark.parametrize(
    ("dataset", "totals"),
    [
        ("breakhis", [7909, 1471]),
        ("bach", [400, 285, 1319, 1568]),
        ("databiox", [922]),
        ("idc", [277524]),
        ("inbreast", [410]),
    ],
)
def test_tables_add_up_to_what_is_published(dataset: str, totals: list[int]) -> None:
    assert [edition.images for edition in DATASETS[dataset].editions] == totals


def test_breakhis_is_verified_by_magnification_and_class() -> None:
    """The numbers of the contract, section 5, written down once more."""
    found = [
        Sample(label=label, magnification=zoom, source="x.png")
        for zoom, numbers in BREAKHIS.items()
        for label, number in zip(("benign", "malignant"), numbers, strict=True)
        for _ in range(number)
    ]
    assert verified(found, *DATASETS["breakhis"].editions).complete
    (sentence,) = verified(found[15:], *DATASETS["breakhis"].editions).sentences()
    assert "7,894 of 7,909 images (40×: 610 of 625 benign)" in sentence


def test_the_extension_and_both_together_are_told_apart() -> None:
    """Table I of the hybrid paper."""
    for numbers, name in (
        ((273, 451, 339, 256), "the extension of Bioimaging2015"),
        ((328, 520, 402, 318), "Bioimaging2015 with its extension"),
    ):
        found = [
            Sample(label=label, source=f"{label}/x{number}.tif")
            for label, count in zip(("normal", "benign", "in_situ", "invasive"), numbers, strict=True)
            for number in range(count)
        ]
        result = verified(found, *DATASETS["bach"].editions)
        assert (result.edition, result.complete) == (name, True)
