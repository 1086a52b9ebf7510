"""Tables for papers, set by pandas: for Markdown with tabulate, for LaTeX with Jinja2.

Cells come as text in which nothing is left to escape; `numeric` says which columns go to the right.
"""

from collections.abc import Sequence

Cells = Sequence[Sequence[str]]

_RULES = [{"selector": f"{position}rule", "props": ":hline"} for position in ("top", "mid", "bottom")]


def to_markdown(names: Sequence[str], lines: Cells, numeric: Sequence[bool]) -> str:
    """A table as GitHub and Pandoc read it; nothing where there is no column."""
    from pandas import DataFrame

    if not names:
        return ""
    sides = [("left", "right")[right] for right in numeric]
    return (
        DataFrame(lines, dtype=object).to_markdown(
            index=False, headers=names, tablefmt="pipe", disable_numparse=True, colalign=sides
        )
        + "\n"
    )


def to_latex(names: Sequence[str], lines: Cells, numeric: Sequence[bool]) -> str:
    """A tabular that needs no package; nothing where there is no column."""
    from pandas import DataFrame

    if not names:
        return ""
    styled = (
        DataFrame(lines, dtype=object)
        .style.hide(axis="index")
        .format_index(lambda number: names[number], axis="columns")
    )
    sides = "".join("lr"[right] for right in numeric)
    return styled.set_table_styles(_RULES).to_latex(column_format=sides)
