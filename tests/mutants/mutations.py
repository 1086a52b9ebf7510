"""Mutants of a module: its syntax tree with one operator, constant, condition or statement changed."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Mutant:
    """The mutant of a module with this number, and the text of its `line` before and after.

    `first` and `last` are the lines of the statement that is changed, without the statements in it.
    """

    module: str
    number: int
    line: int
    first: int
    last: int
    text: str
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by, wherever its line has moved to."""
        return self.module, self.text, f"{self.before} → {self.after}"


@dataclass(frozen=True)
class _Slot:
    """Where a node hangs: a field of its parent, at an index where the field is a list."""

    parent: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class _Change:
    slot: _Slot
    old: Any
    new: Any
    statement: Any


def mutants_of(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, always in the same order."""
    lines = source.splitlines()
    return [
        _described(module, number, change, lines) for number, change in enumerate(_changes(ast.parse(source)))
    ]


def mutated(source: str, number: int) -> ast.Module:
    """The syntax tree of the mutant with this number."""
    tree = ast.parse(source)
    for index, change in enumerate(_changes(tree)):
        if index == number:
            change.slot.put(ast.copy_location(change.new, change.old))
            return ast.fix_missing_locations(tree)
    raise ValueError(f"there is no mutant {number}")


def _described(module: str, number: int, change: _Change, lines: list[str]) -> Mutant:
    statement, line = change.statement, change.old.lineno
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno
    before, after = _texts(change)
    return Mutant(
        module, number, line, statement.lineno, max(last, statement.lineno), lines[line - 1].strip(),
        before, after,
    )  # fmt: skip


def _texts(change: _Change) -> tuple[str, str]:
    """Before and after: those of the expression around it where that is short."""
    alone = ast.unparse(change.old), ast.unparse(change.new)
    if not isinstance(change.slot.parent, (ast.expr, ast.keyword)):
        return alone
    before = ast.unparse(change.slot.parent)
    change.slot.put(change.new)
    after = ast.unparse(change.slot.parent)
    change.slot.put(change.old)
    return (before, after) if len(before) <= _SHORT else alone


_SHORT = 60


def _changes(tree: ast.AST) -> Iterator[_Change]:
    """Every change of a tree; it is to be taken back before the next one."""
    for slot, node, statement in _nodes(tree, tree):
        for new in _instead_of(node, slot):
            yield _Change(slot, node, new, statement)


def _nodes(parent: ast.AST, statement: ast.AST) -> Iterator[tuple[_Slot, ast.AST, ast.AST]]:
    """All nodes that may change, from top to bottom, each with its place and its statement."""
    for field, value in ast.iter_fields(parent):
        if field in _LEFT_ALONE:
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not _is_left_alone(node):
                around = node if isinstance(node, ast.stmt) else statement
                yield _Slot(parent, field, index), node, around
                yield from _nodes(node, around)


_LEFT_ALONE = {"annotation", "returns", "decorator_list", "ctx", "op", "ops"}


def _is_left_alone(node: ast.AST) -> bool:
    """What says nothing of results: docstrings, imports, what only mypy or a mistake of ours would need."""
    return (
        isinstance(node, (ast.Import, ast.ImportFrom, ast.Assert))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        or (isinstance(node, ast.keyword) and node.arg == "strict")
    )


def _instead_of(node: ast.AST, slot: _Slot) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if (slot.field, type(slot.parent)) in _CONDITIONS and not isinstance(node, _WITH_CHANGES):
        yield ast.UnaryOp(ast.Not(), node)
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            yield from rule(node)


_CONDITIONS = {("test", ast.If), ("test", ast.IfExp), ("test", ast.While), ("ifs", ast.comprehension)}
_WITH_CHANGES = (ast.Compare, ast.BoolOp)


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        for other in _COMPARISONS[type(op)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    if other := _OPERATORS.get(type(node.op)):
        yield ast.BinOp(node.left, other(), node.right)


_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


def _augmented(node: ast.AugAssign) -> Iterator[ast.AST]:
    yield ast.Pass()
    if other := _OPERATORS.get(type(node.op)):
        yield ast.AugAssign(node.target, other(), node.value)


def _and_or(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _without_sign(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}X")


def _nothing_returned(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield ast.Return(ast.Constant(None))


def _opposites(node: ast.Call) -> Iterator[ast.AST]:
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if other := _OPPOSITES.get(name):
        function = (
            ast.Name(other, ast.Load())
            if isinstance(node.func, ast.Name)
            else ast.Attribute(node.func.value, other, ast.Load())  # type: ignore[attr-defined]
        )
        yield ast.Call(function, node.args, node.keywords)


_PAIRS = (
    ("min", "max"), ("any", "all"), ("argmin", "argmax"), ("minimum", "maximum"), ("floor", "ceil"),
    ("ones", "zeros"),
)  # fmt: skip
_OPPOSITES = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}


def _open_slices(node: ast.Slice) -> Iterator[ast.AST]:
    parts = {"lower": node.lower, "upper": node.upper, "step": node.step}
    for name, part in parts.items():
        if part is not None:
            yield ast.Slice(**{**parts, name: None})


def _no_statement(node: ast.stmt) -> Iterator[ast.AST]:
    yield ast.Pass()


def _no_entry(node: ast.Assign) -> Iterator[ast.AST]:
    """Of assignments only those into something: a name that is gone is seen by everybody."""
    if isinstance(node.targets[0], (ast.Subscript, ast.Attribute)):
        yield ast.Pass()


_Rule: TypeAlias = Callable[[Any], Iterator[ast.AST]]
_RULES: dict[type[ast.AST] | tuple[type[ast.AST], ...], _Rule] = {
    ast.Compare: _comparisons,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _augmented,
    ast.BoolOp: _and_or,
    ast.UnaryOp: _without_sign,
    ast.Constant: _constants,
    ast.Return: _nothing_returned,
    ast.Call: _opposites,
    ast.Slice: _open_slices,
    ast.Assign: _no_entry,
    (ast.Expr, ast.Raise, ast.Continue, ast.Break): _no_statement,
}
"""By what it changes, what a rule makes of it."""
