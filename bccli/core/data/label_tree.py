"""Label trees: read from a line of text or a file, checked, and printed again.

The text names the children of the root, separated by commas; a node with children of its own has them in
brackets: `normal, tumor(benign, cancer)`. Names with `,`, `(`, `)`, `:`, `#` or quotes in them stand in
double quotes. A file has such a text, over several lines if need be, or a line for each node with children:

    root: normal, tumor      # the root is called so
    tumor: benign, cancer
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bccli.core.catalog import nearest
from bccli.core.errors import DataError, UsageError
from bccli.core.reading.limits import TEXT_BYTES
from bccli.core.reading.texts import read_text

ROOT = "root"
DEEPEST = 50
"""So many levels at most are below the root."""

_TOKEN = re.compile(r'\s*(?:(?P<mark>[(),:])|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^(),:"#]+))')
_PLAIN = re.compile(r'[^(),:"#\\]+')
# The name of a node with children is that of a folder, too.
_FOLDER = re.compile(r"\w[\w -]*")
_TAKEN = ("detector", "locators", "plots", "tensorboard")


@dataclass(frozen=True)
class Tree:
    """A node with all below it: a label where it has no children, else a classifier between them."""

    name: str
    children: tuple["Tree", ...] = ()

    def __str__(self) -> str:
        """The text from which `parse_tree` makes the same tree; the root's own name is left out."""
        return ", ".join(child._text() for child in self.children)

    def _text(self) -> str:
        plain = _PLAIN.fullmatch(self.name) and " ".join(self.name.split()) == self.name
        name = self.name if plain else _quoted(self.name)
        return f"{name}({self})" if self.children else name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the children."""
        return tuple(child.name for child in self.children)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The labels below it, from left to right; of a leaf, its own name."""
        return tuple(leaf for child in self.children for leaf in child.leaves) or (self.name,)

    @property
    def inner(self) -> tuple["Tree", ...]:
        """The nodes with children, this one first, each before those below it."""
        return (self, *(node for child in self.children for node in child.inner)) if self.children else ()

    def child_of(self, label: str) -> str | None:
        """The child under which a label is; None where it is not below this node."""
        return next((child.name for child in self.children if label in child.leaves), None)


def find_tree(choice: str | None, built_in: str = "") -> Tree:
    """The tree that `--tree` names: a file, a text, or by default the `built_in` one.

    Raises UsageError.
    """
    if choice is None:
        if not built_in:
            raise UsageError(
                "--tree is missing, and there is no built-in tree for these classes; "
                "say one such as 'normal, tumor(benign, cancer)'"
            )
        return parse_tree(built_in)
    return read_tree(Path(choice)) if _is_file(choice) else parse_tree(choice)


def _is_file(choice: str) -> bool:
    try:
        return Path(choice).is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def parse_tree(text: str, where: str = "--tree") -> Tree:
    """The tree of a text; `where` stands before what is wrong with it. Raises UsageError."""
    tokens = list(_tokens(text, where))
    tree = Tree(ROOT, _siblings(tokens, where))
    _check(tree, where)
    return tree


def read_tree(path: Path) -> Tree:
    """The tree in a file. Raises UsageError."""
    try:
        text = read_text(path, TEXT_BYTES)
    except (OSError, UnicodeError, DataError):
        raise UsageError(f"--tree {path}: is no readable text in UTF-8; name another file") from None
    lines = [line for line in map(_without_comment, text.splitlines()) if line.strip()]
    definitions: dict[str, tuple[Tree, ...]] = {}
    for line in lines:
        tokens = list(_tokens(line, f"--tree {path}"))
        if len(tokens) < 2 or tokens[1] != (":", True):
            if definitions:
                raise UsageError(f"--tree {path}: the line {line.strip()!r} is not NODE: CHILD, CHILD")
            return parse_tree(" ".join(lines), f"--tree {path}")
        name = tokens[0][0]
        if name in definitions:
            raise UsageError(f"--tree {path}: defines {name} twice; remove one of the lines")
        definitions[name] = _siblings(tokens[2:], f"--tree {path}: {name}")
    if not definitions:
        raise UsageError(f"--tree {path}: is empty; write 'a, b(c, d)'")
    tree = _expanded(definitions, f"--tree {path}")
    _check(tree, f"--tree {path}")
    return tree


def match_tree(tree: Tree, classes: Sequence[str], where: str) -> None:
    """Raises UsageError naming labels of the tree that are no classes, and classes that are no labels."""
    unknown = [name for name in tree.leaves if name not in classes]
    missing = [name for name in classes if name not in tree.leaves]
    if unknown:
        hint = nearest(unknown[0], missing)
        raise UsageError(
            f"--tree: {', '.join(unknown)} is no class of {where}{hint}; its classes are {', '.join(classes)}"
        )
    if missing:
        raise UsageError(f"--tree: has no label {', '.join(missing)}, and {where} has such images; add it")


def find_node(tree: Tree, name: str, option: str) -> Tree:
    """The node with children of this name. Raises UsageError naming the nearest."""
    nodes = {node.name: node for node in tree.inner}
    if name not in nodes:
        what = "is a label" if name in tree.leaves else "is no node of the tree"
        raise UsageError(f"{option} {name}: {what}{nearest(name, nodes)}; the nodes are {', '.join(nodes)}")
    return nodes[name]


_Token = tuple[str, bool]  # a name, or a mark and True


def _tokens(text: str, where: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if not found or not found.group().strip():
            raise UsageError(f"{where}: cannot be read from {text[position:].strip()[:20]!r} on; quote names")
        position = found.end()
        if found["mark"]:
            yield found["mark"], True
        elif found["quoted"] is not None:
            yield re.sub(r"\\(.)", r"\1", found["quoted"], flags=re.DOTALL), False
        else:
            yield " ".join(found["plain"].split()), False


def _siblings(tokens: Sequence[_Token], where: str) -> tuple[Tree, ...]:
    """The trees of a list with brackets."""
    levels: list[list[Tree]] = [[]]
    parents: list[str] = []
    name: str | None = None  # read, but what follows it is not

    def close() -> None:
        nonlocal name
        if name is not None:
            levels[-1].append(Tree(name))
        name = None

    wanted = True  # a name has to come next
    for text, is_mark in tokens:
        if not is_mark:
            if not wanted or not text:
                raise UsageError(f"{where}: no comma before {text!r}; separate the children of a node")
            name, wanted = text, False
        elif text == "(" and name is not None:
            parents.append(name)
            levels.append([])
            name, wanted = None, True
            if len(levels) > DEEPEST:
                raise UsageError(f"{where}: is more than {DEEPEST} levels deep; join some of them")
        elif text == ")" and not wanted and parents:
            close()
            children = tuple(levels.pop())
            levels[-1].append(Tree(parents.pop(), children))
        elif text == "," and not wanted:
            close()
            wanted = True
        else:
            raise UsageError(f"{where}: {text!r} stands where a name should; write 'a, b(c, d)'")
    if parents or wanted:
        missing = f"')' after the children of {parents[-1]}" if parents else "a name at the end"
        raise UsageError(f"{where}: lacks {missing}; write 'a, b(c, d)'")
    close()
    return tuple(levels[0])


def _expanded(definitions: Mapping[str, tuple[Tree, ...]], where: str) -> Tree:
    """The tree that definitions of its nodes make, from the root on."""
    if ROOT not in definitions:
        raise UsageError(f"{where}: has no line '{ROOT}: …'; say what the first classifier tells apart")
    used: set[str] = set()

    def expand(tree: Tree, above: tuple[str, ...]) -> Tree:
        if tree.name in above:
            cycle = " → ".join((*above[above.index(tree.name) :], tree.name))
            raise UsageError(f"{where}: goes in a circle ({cycle}); a node cannot be below itself")
        if tree.name in definitions:
            if tree.children:
                raise UsageError(f"{where}: defines {tree.name} twice; remove one of the lines")
            used.add(tree.name)
        below = (*above, tree.name)
        if len(above) > DEEPEST:
            raise UsageError(f"{where}: is more than {DEEPEST} levels deep; join some of them")
        children = definitions.get(tree.name, tree.children)
        return Tree(tree.name, tuple(expand(child, below) for child in children))

    tree = expand(Tree(ROOT), ())
    for name in definitions:
        if name not in used:
            expand(Tree(name), ())  # says so where it is in a circle
            raise UsageError(f"{where}: {name} is below no other node; name it among the children of one")
    return tree


def _check(tree: Tree, where: str) -> None:
    met: set[str] = set()
    for name in _all_names(tree):
        if name in met:
            raise UsageError(f"{where}: has {name} twice; each label and each node has one place")
        met.add(name)
    for node in tree.inner:
        if len(node.children) < 2:
            only = f"only {node.names[0]}" if node.children else "nothing"
            raise UsageError(f"{where}: {node.name} has {only} below it; a classifier needs two children")
        if not _FOLDER.fullmatch(node.name) or node.name in _TAKEN:
            raise UsageError(
                f"{where}: {node.name!r} cannot be the name of a node's folder; "
                "take letters, digits, spaces, _ and -"
            )


def _all_names(tree: Tree) -> Iterator[str]:
    yield tree.name
    for child in tree.children:
        yield from _all_names(child)


def _quoted(name: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def _without_comment(line: str) -> str:
    """A line up to the first # that is not in quotes."""
    found = re.match(r'(?:[^"#]|"(?:[^"\\]|\\.)*"|")*', line)
    return found.group() if found else ""
