"""Label trees as text and files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.catalog import DATASETS
from bccli.core.data.label_tree import (
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


NO_NAME = "stands where a name should; write 'a, b(c, d)'"
NO_END = "lacks a name at the end; write 'a, b(c, d)'"
TWICE = "twice; each label and each node has one place"
ALONE = "below it; a classifier needs two children"
NO_FOLDER = "cannot be the name of a node's folder; take letters, digits, spaces, _ and -"
TOO_DEEP = "is more than 50 levels deep; join some of them"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", NO_END),
        ("a", f"root has only a {ALONE}"),
        ("a, b(c)", f"b has only c {ALONE}"),
        ("a, b(c, a)", f"has a {TWICE}"),
        ("a, b(c, b)", f"has b {TWICE}"),
        ("a, root", f"has root {TWICE}"),
        ("a, b(c, d", "lacks ')' after the children of b; write 'a, b(c, d)'"),
        ("a, b)", f"')' {NO_NAME}"),
        ("a,, b", f"',' {NO_NAME}"),
        ("a, b,", NO_END),
        ("a, (b, c)", f"'(' {NO_NAME}"),
        ("a, b()", f"')' {NO_NAME}"),
        ("a, b(c, d)(e, f)", f"'(' {NO_NAME}"),
        ("a: b, c", f"':' {NO_NAME}"),
        ('a, "b', "cannot be read from '\"b' on; quote names"),
        ("a, b #c", "cannot be read from '#c' on; quote names"),
        (f"a, #{'b' * 30}", f"cannot be read from '#{'b' * 19}' on; quote names"),
        ('a, "b" c', "no comma before 'c'; separate the children of a node"),
        ('a, ""', "no comma before ''; separate the children of a node"),
        ("a, b/c(d, e)", f"'b/c' {NO_FOLDER}"),
        ("a, detector(d, e)", f"'detector' {NO_FOLDER}"),
        ("a, locators(d, e)", f"'locators' {NO_FOLDER}"),
        ("a, plots(d, e)", f"'plots' {NO_FOLDER}"),
        ("a, tensorboard(d, e)", f"'tensorboard' {NO_FOLDER}"),
    ],
)
def test_a_text_that_is_no_tree_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_tree(text)
    assert str(caught.value) == f"--tree: {complaint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "root: a, b\nb: c, d\nd: e, b",
            ": goes in a circle (b → d → b); a node cannot be below itself",
        ),
        (
            "root: a, b\nb: root, c",
            ": goes in a circle (root → b → root); a node cannot be below itself",
        ),
        (
            "root: a, b\nc: d, e\nd: c, f",
            ": goes in a circle (c → d → c); a node cannot be below itself",
        ),
        ("root: a, b\nc: d, e", ": c is below no other node; name it among the children of one"),
        ("root: a, b\nb: c, d\nb: e, f", ": defines b twice; remove one of the lines"),
        ("root: a, b(c, d)\nb: e, f", ": defines b twice; remove one of the lines"),
        ("root: a, b, c\nb: d, e\nc: d, f", f": has d {TWICE}"),
        ("b: c, d", ": has no line 'root: …'; say what the first classifier tells apart"),
        ("root: a, b\nsomething else", ": the line 'something else' is not NODE: CHILD, CHILD"),
        ("root: a, b\nb", ": the line 'b' is not NODE: CHILD, CHILD"),
        ("root: a, b\nb: c,, d", f": b: ',' {NO_NAME}"),
        ("root: a", f": root has only a {ALONE}"),
        ("root: a, b/c\nb/c: d, e", f": 'b/c' {NO_FOLDER}"),
        ("root:", f": root: {NO_END}"),
        ("a, b,", f": {NO_END}"),
        ('"a', ": cannot be read from '\"a' on; quote names"),
        ("", ": is empty; write 'a, b(c, d)'"),
    ],
)
def test_a_file_that_is_no_tree_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "tree.txt"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tree(path)
    assert str(caught.value) == f"--tree {path}{complaint}"


def deep(levels: int) -> tuple[str, str]:
    """A tree with so many levels below the root, as a text and as the lines of a file."""
    inner = range(levels - 1)
    text = "".join(f"a{level}, n{level}(" for level in inner) + "y, z" + ")" * len(inner)
    lines = [f"{f'n{level - 1}' if level else 'root'}: a{level}, n{level}" for level in inner]
    return text, "\n".join([*lines, f"n{levels - 2}: y, z"])


def test_fifty_levels_are_the_most_in_a_text_as_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tree.txt"
    text, lines = deep(50)
    path.write_text(lines)
    assert read_tree(path) == parse_tree(text)
    text, lines = deep(51)
    path.write_text(lines)
    for read, where in ((lambda: parse_tree(text), "--tree"), (lambda: read_tree(path), f"--tree {path}")):
        with pytest.raises(UsageError) as caught:
            read()
        assert str(caught.value) == f"{where}: {TOO_DEEP}"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError) as caught:
        find_tree(str(tmp_path / "tree"))
    assert str(caught.value) == (
        f"--tree {tmp_path / 'tree'}: is no readable text in UTF-8; name another file"
    )


@pytest.mark.parametrize("choice", [", ".join(f"n{number}" for number in range(2000)), "a, b\0"])
def test_what_cannot_be_a_path_is_a_text(choice: str) -> None:
    assert find_tree(choice) == parse_tree(choice)


def said_by(act: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        act()
    return str(caught.value)


def test_labels_that_do_not_match_are_named() -> None:
    match_tree(THESIS, ("normal", "benign", "cancer"), "data")
    assert said_by(lambda: match_tree(THESIS, ("normal", "benign", "cancre"), "data")) == (
        "--tree: cancer is no class of data (did you mean 'cancre'?); its classes are normal, benign, cancre"
    )
    assert said_by(lambda: match_tree(THESIS, ("normal",), "data")) == (
        "--tree: benign, cancer is no class of data; its classes are normal"
    )
    assert said_by(lambda: match_tree(THESIS, ("normal", "benign", "cancer", "x", "y"), "data")) == (
        "--tree: has no label x, y, and data has such images; add it"
    )


def test_nodes_are_found_by_name() -> None:
    assert find_node(THESIS, "tumor", "--compose") == THESIS.children[1]
    assert said_by(lambda: find_node(THESIS, "tumour", "--compose")) == (
        "--compose tumour: is no node of the tree (did you mean 'tumor'?); the nodes are root, tumor"
    )
    assert said_by(lambda: find_node(THESIS, "benign", "--compose")) == (
        "--compose benign: is a label; the nodes are root, tumor"
    )


@pytest.mark.parametrize("name", [" a", "a  b", "a, b", 'say "c"', "back\\slash", "(", "#", ":"])
def test_names_that_are_no_plain_words_are_printed_in_quotes(name: str) -> None:
    tree = Tree(ROOT, (Tree("x"), Tree(name)))
    assert str(tree).startswith('x, "')
    assert parse_tree(str(tree)) == tree
    assert str(Tree(ROOT, (Tree("in situ"), Tree("b")))) == "in situ, b"


@pytest.mark.parametrize(
    ("name", "task"), [(row.name, task) for row in DATASETS.values() for task in row.tasks if task.tree]
)
def test_every_built_in_tree_has_the_classes_of_its_task(name: str, task: object) -> None:
    match_tree(find_tree(None, task.tree), task.classes, name)  # type: ignore[attr-defined]


def test_without_a_built_in_tree_one_has_to_be_said() -> None:
    assert said_by(lambda: find_tree(None)) == (
        "--tree is missing, and there is no built-in tree for these classes; "
        "say one such as 'normal, tumor(benign, cancer)'"
    )
