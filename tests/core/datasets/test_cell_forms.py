"""Numbers, ages and nothing in the cells of tables."""

import pytest

from bccli.core.datasets.layout.cell_forms import CellForms, filled, is_of_ages


def tidied(name: str, *cells: str) -> list[str]:
    """The cells of a column as a manifest has them."""
    forms = CellForms()
    for text in cells:
        forms.see({name: text})
    return [forms.tidied(name, text) for text in cells]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0,75", "12", "1.5", ""], ["0.75", "12", "1.5", ""]),
        (["-0,5", "+2,0"], ["-0.5", "+2.0"]),
        (["1,234", "0,750"], ["1.234", "0.750"]),
        (["1,234", "5"], ["1,234", "5"]),
        (["2.0", "nan", "3"], ["2", "", "3"]),
        (["2,00", "3,00"], ["2", "3"]),
        (["007", "010"], ["007", "010"]),
        (["0,75", "high"], ["0,75", "high"]),
        (["1,2", "1,2,3"], ["1,2", "1,2,3"]),
        (["2.0", "2a"], ["2.0", "2a"]),
        (["two\nlines  here"], ["two lines here"]),
    ],
)
def test_a_column_is_judged_by_all_of_its_cells(cells: list[str], expected: list[str]) -> None:
    assert tidied("dose", *cells) == expected


def test_columns_with_commas_are_named() -> None:
    forms = CellForms()
    forms.see({"dose": "0,75", "count": "1,234", "age": "45,5", "text": "a,b"})
    assert forms.with_commas() == (("dose",), ("count",))


def test_ages_are_years_whatever_else_is_in_their_column() -> None:
    assert tidied("patient age", "045Y", "018M", "45,5", "old", "-") == ["45", "1", "45.5", "old", ""]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("age", True), ("PatientAge", True), ("Patient's Age", True), ("age at menarche", True)]
    + [(name, False) for name in ("image", "stage", "average dose", "language", "ages")],
)
def test_columns_of_ages(name: str, expected: bool) -> None:
    assert is_of_ages(name) is expected


@pytest.mark.parametrize("text", ["", "-", "NaN", "NA", "n/a", "#N/A", "<NA>", "NULL"])
def test_words_for_nothing(text: str) -> None:
    assert filled(text) == ""
