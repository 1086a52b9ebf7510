"""Label trees as text and files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.catalog import DATASETS
from bccli.core.data.label_tree import (
    DEEPEST,
    ROOT,
    Tree,
    find_node,
    find_tree,
    match_tree,
    parse_tree,
    read_tree,
)
from bccli.core.errors import UsageError

THESIS = Tree(ROOT, (Tree("normal"), Tree("tumor", (Tree("benign"), Tree("cancer")))))


@st.composite
def trees(draw: st.DrawFn, most: int = 8) -> Tree:
    """Random trees; labels are any text, nodes have names that folders can have."""
    labels = draw(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=most, unique=True))
    labels = [f"l {label}"[:8].strip() for label in labels]
    labels = list(dict.fromkeys(labels))
    if len(labels) < 2:
        labels = ["a", "b"]
    number = 0

    def grow(names: list[str]) -> tuple[Tree, ...]:
        nonlocal number
        parts: list[list[str]] = [[]]
        for place, name in enumerate(names):
            if parts[-1] and ((place == len(names) - 1 and len(parts) == 1) or draw(st.booleans())):
                parts.append([])
            parts[-1].append(name)
        found = []
        for part in parts:
            if len(part) == 1:
                found.append(Tree(part[0]))
            else:
                number += 1
                found.append(Tree(f"node {number}", grow(part)))
        return tuple(found)

    return Tree(ROOT, grow(labels))


@given(trees())
def test_a_printed_tree_is_read_again(tree: Tree) -> None:
    assert parse_tree(str(tree)) == tree


@given(trees())
def test_what_a_tree_knows_of_its_nodes(tree: Tree) -> None:
    assert tree.inner[0] is tree
    for node in tree.inner:
        assert [leaf for child in node.children for leaf in child.leaves] == list(node.leaves)
        for leaf in tree.leaves:
            holders = [child.name for child in node.children if leaf in child.leaves]
            assert node.child_of(leaf) == (holders[0] if holders else None)


@pytest.mark.parametrize(
    "text",
    [
        "normal, tumor(benign, cancer)",
        " normal ,tumor ( benign,cancer )",
        '"normal", tumor("benign", cancer)',
    ],
)
def test_blanks_and_quotes_make_no_difference(text: str) -> None:
    assert parse_tree(text) == THESIS


def test_names_may_have_blanks_and_in_quotes_anything() -> None:
    tree = parse_tree(r'in situ, other("a, b", "say \"c\": #1 (d)")')
    assert tree.leaves == ("in situ", "a, b", 'say "c": #1 (d)')


@pytest.mark.parametrize(
    "text",
    [
        "normal, tumor(benign, cancer)",
        "# Mini-DDSM\nnormal,\n  tumor(benign,  # two kinds\n  cancer)\n",
        "root: normal, tumor\ntumor: benign, cancer\n",
        "tumor: benign, cancer\n\n# first\nroot: normal, tumor",
        "root: normal, tumor(benign, cancer)",
        "\ufeffroot: normal, tumor\r\ntumor: benign, cancer\r\n",
    ],
)
def test_a_file_has_a_text_or_a_line_for_each_node(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tree.txt"
    path.write_bytes(text.encode())
    assert find_tree(str(path)) == THESIS


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ("lacks a name",)),
        ("a", ("root has only a below it", "needs two")),
        ("a, b(c)", ("b has only c below it",)),
        ("a, b(c, a)", ("has a twice",)),
        ("a, b(c, b)", ("has b twice",)),
        ("a, root", ("has root twice",)),
        ("a, b(c, d", ("lacks ')'", "children of b")),
        ("a, b)", ("')' stands",)),
        ("a,, b", ("',' stands",)),
        ("a, b,", ("lacks a name",)),
        ("a, (b, c)", ("'(' stands",)),
        ("a, b()", ("')' stands",)),
        ("a: b, c", ("':' stands",)),
        ('a, "b', ("cannot be read from '\"b' on",)),
        ("a, b #c", ("cannot be read from '#c' on",)),
        ('a, "b" c', ("no comma before 'c'",)),
        ("a, b/c(d, e)", ("'b/c'", "folder")),
        ("a, plots(d, e)", ("'plots'", "folder")),
        ("a, " + "".join(f"n{k}(a{k}, " for k in range(DEEPEST)) + "z" + ")" * DEEPEST, ("levels deep",)),
    ],
)
def test_a_text_that_is_no_tree_is_refused(text: str, fragments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_tree(text)
    assert all(fragment in str(caught.value) for fragment in ("--tree", *fragments)), str(caught.value)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("root: a, b\nb: c, d\nd: e, b", ("circle", "b → d → b")),
        ("root: a, b\nb: root, c", ("circle", "root → b → root")),
        ("root: a, b\nc: d, e\nd: c, f", ("circle", "c → d → c")),
        ("root: a, b\nc: d, e", ("c is below no other node",)),
        ("root: a, b\nb: c, d\nb: e, f", ("defines b twice",)),
        ("root: a, b(c, d)\nb: e, f", ("defines b twice",)),
        ("root: a, b, c\nb: d, e\nc: d, f", ("has d twice",)),
        ("b: c, d", ("no line 'root: …'",)),
        ("root: a, b\nsomething else", ("'something else'", "NODE: CHILD")),
        ("root:", ("lacks a name",)),
        ("", ("is empty",)),
    ],
)
def test_a_file_that_is_no_tree_is_refused(tmp_path: Path, text: str, fragments: tuple[str, ...]) -> None:
    path = tmp_path / "tree.txt"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tree(path)
    assert all(fragment in str(caught.value) for fragment in (str(path), *fragments)), str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no readable text"):
        find_tree(str(tmp_path / "tree"))


def test_labels_that_do_not_match_are_named() -> None:
    match_tree(THESIS, ("normal", "benign", "cancer"), "data")
    with pytest.raises(UsageError, match=r"cancer is no class of data \(did you mean 'cancre'\?\)"):
        match_tree(THESIS, ("normal", "benign", "cancre"), "data")
    with pytest.raises(UsageError, match="has no label other"):
        match_tree(THESIS, ("normal", "benign", "cancer", "other"), "data")


def test_nodes_are_found_by_name() -> None:
    assert find_node(THESIS, "tumor", "--compose") == THESIS.children[1]
    with pytest.raises(UsageError, match=r"--compose tumour: is no node .*did you mean 'tumor'"):
        find_node(THESIS, "tumour", "--compose")
    with pytest.raises(UsageError, match="benign: is a label"):
        find_node(THESIS, "benign", "--compose")


@pytest.mark.parametrize(
    ("name", "task"), [(row.name, task) for row in DATASETS.values() for task in row.tasks if task.tree]
)
def test_every_built_in_tree_has_the_classes_of_its_task(name: str, task: object) -> None:
    match_tree(find_tree(None, task.tree), task.classes, name)  # type: ignore[attr-defined]


def test_without_a_built_in_tree_one_has_to_be_said() -> None:
    with pytest.raises(UsageError, match="--tree is missing"):
        find_tree(None)
