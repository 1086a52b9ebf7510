"""What lists say of patients, breasts and lesions."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from bccli.core.datasets.layout.indexes import Line, plain, read_index
from bccli.core.datasets.traits import AGE, CBIS, DENSITY, MINI_DDSM, TRAITS, Trait, text_of, traits_in


def line(**cells: str) -> Line:
    return Line("list line 2", {plain(name): text for name, text in cells.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("66", "66"),
        ("66.0", "66"),
        ("66,0", "66"),
        ("045Y", "45"),
        (" 45 ", "45"),
        ("", ""),
        ("-", ""),
        ("nan", ""),
    ],
)
def test_ages_as_people_write_them(text: str, expected: str) -> None:
    remarks: list[str] = []
    assert text_of(AGE, text, "here", lambda name, kind="": remarks.append(kind)) == expected
    assert remarks == []


@pytest.mark.parametrize(("trait", "text"), [(AGE, "old"), (AGE, "300"), (DENSITY, "0"), (DENSITY, "2.5")])
def test_what_is_not_known_is_kept_and_counted(trait: Trait, text: str) -> None:
    remarks: list[str] = []
    assert text_of(trait, text, "here", lambda name, kind="": remarks.append(kind)) == text
    assert remarks == ["trait"]


def test_words_may_be_joined_and_columns_spelled_otherwise() -> None:
    remarks: list[str] = []
    found = traits_in(
        line(Breast_Density="3", mass_shape="IRREGULAR-ARCHITECTURAL_DISTORTION", subtlety=""),
        CBIS,
        lambda name, kind="": remarks.append(kind),
    )
    assert dict(found) == {"density": "3", "mass_shape": "IRREGULAR-ARCHITECTURAL_DISTORTION"}
    assert remarks == []


def test_each_dataset_names_a_column_once() -> None:
    for traits in TRAITS.values():
        names = [trait.name for trait in traits]
        assert len(set(names)) == len(names)
        assert all(trait.meaning for trait in traits)


def test_real_lists_lose_nothing(real_data: Path) -> None:
    lists = [(path, CBIS) for path in sorted((real_data / "cbis-ddsm-csv").glob("*.csv"))]
    lists.append((real_data / "mini-ddsm" / "full-index.csv", MINI_DDSM))
    for path, traits in lists:
        if not path.is_file():
            pytest.skip(f"no {path}")
        found: Counter[tuple[str, str]] = Counter()
        for each in read_index(path, ()):
            found.update(traits_in(each, traits, lambda name, kind="": None))
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [{plain(key): text for key, text in row.items()} for row in csv.DictReader(stream)]
        expected = Counter(
            (trait.name, str(int(float(text))) if trait.is_age else text)
            for row in rows
            for trait in traits
            if (text := row.get(plain(trait.column), ""))
        )
        assert found == expected
