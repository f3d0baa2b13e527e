"""Compiles expressions to closures, one for each node of the tree."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from cdc_daemon.values.cql_json import text_of
from cdc_daemon.values.functions import FUNCTIONS
from cdc_daemon.values.integers import check_operands

Evaluate = Callable[[Sequence[Any], Mapping[str, Any]], Any]
"""A compiled expression: takes the row, and by name the fields built so far or a comprehension's element."""

CONSTANTS: Mapping[str, Any] = {"null": None, "true": True, "false": False}

BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}

_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

_EQUALITY: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
}


def is_comparison(sort: ast.cmpop) -> bool:
    """Return whether expressions may use this comparison."""
    return type(sort) in _ORDER or type(sort) in _EQUALITY or isinstance(sort, ast.In | ast.NotIn)


class Compiler:
    """Compiles a tree of nodes that are all permitted in expressions to closures.

    `places` are the positions of the columns in a row; negative for a missing column, which is null.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = places
        self._bound: frozenset[str] = frozenset()

    def compile(self, node: ast.expr) -> Evaluate:  # noqa: C901, PLR0912 -- a table of cases
        """Compile one node and all nodes below it to a closure."""
        match node:
            case ast.Name(id=name):
                return self._name(name)
            case ast.Constant(value=value):
                return lambda _row, _fields: value
            case ast.BoolOp(op=sort, values=values):
                return _logic([self.compile(each) for each in values], until=isinstance(sort, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.compile(operand)
                return lambda row, fields: not inner(row, fields)
            case ast.UnaryOp(operand=operand):
                return _binary(lambda _zero, value: -value, lambda _row, _fields: 0, self.compile(operand))
            case ast.BinOp(left=left, op=sort, right=right):
                return _binary(BINARY.get(type(sort), _product), self.compile(left), self.compile(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return _comparison([self.compile(each) for each in (left, *others)], [_compare(each) for each in ops])
            case ast.IfExp(test=test, body=body, orelse=other):
                return _choice(self.compile(test), self.compile(body), self.compile(other))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _call(name, [self.compile(each) for each in arguments])
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                made = [self.compile(each) for each in elements]
                return lambda row, fields: [each(row, fields) for each in made]
            case ast.Dict(keys=keys, values=values):
                names = [text_of(key.value) for key in keys if isinstance(key, ast.Constant)]
                pairs = list(zip(names, [self.compile(each) for each in values], strict=True))
                return lambda row, fields: {key: each(row, fields) for key, each in pairs}
            case ast.Subscript(value=value, slice=index):
                return self._element(self.compile(value), index)
            case ast.Attribute(value=value, attr=name):
                return _member(self.compile(value), name)
            case ast.JoinedStr(values=values):
                return _call("join", [_listed([self.compile(each) for each in values]), lambda _row, _fields: ""])
            case ast.FormattedValue(value=value):
                return self.compile(value)
            case ast.ListComp(elt=element, generators=[only]) | ast.GeneratorExp(elt=element, generators=[only]):
                return self._comprehension(element, only)
            case _:
                raise AssertionError(node)

    def _name(self, name: str) -> Evaluate:
        if name in CONSTANTS:
            value = CONSTANTS[name]
            return lambda _row, _fields: value
        if name in self._places and name not in self._bound:
            at = self._places[name]
            return (lambda row, _fields: row[at]) if at >= 0 else (lambda _row, _fields: None)
        return lambda _row, fields: fields.get(name)

    def _element(self, value: Evaluate, index: ast.expr) -> Evaluate:
        if isinstance(index, ast.Slice):
            lower, upper = (
                (lambda _row, _fields: None) if each is None else self.compile(each)
                for each in (index.lower, index.upper)
            )
            return lambda row, fields: _slice(value(row, fields), lower(row, fields), upper(row, fields))
        at = self.compile(index)
        return lambda row, fields: _item(value(row, fields), at(row, fields))

    def _comprehension(self, element: ast.expr, over: ast.comprehension) -> Evaluate:
        assert isinstance(over.target, ast.Name)
        values = self.compile(over.iter)
        name = over.target.id
        outer = self._bound
        self._bound = outer | {name}
        make = self.compile(element)
        conditions = [self.compile(each) for each in over.ifs]
        self._bound = outer

        def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> Any:
            found = values(row, fields)
            if found is None:
                return None
            made = []
            for value in found:
                inner = {**fields, name: value}
                if all(condition(row, inner) for condition in conditions):
                    made.append(make(row, inner))
            return made

        return evaluate


def _logic(values: Sequence[Evaluate], *, until: bool) -> Evaluate:
    def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> Any:
        found = None
        for value in values:
            found = value(row, fields)
            if bool(found) is until:
                return found
        return found

    return evaluate


def _binary(apply: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> Any:
        one, other = left(row, fields), right(row, fields)
        if one is None or other is None:
            return None
        check_operands(one, other)
        return apply(one, other)

    return evaluate


def _product(one: Any, other: Any) -> Any:
    for value in (one, other):
        if isinstance(value, str | bytes | list | tuple):
            raise TypeError(f"expected numbers to multiply, found {type(value).__name__}")
    return one * other


def _compare(sort: ast.cmpop) -> Callable[[Any, Any], bool]:
    if isinstance(sort, ast.In | ast.NotIn):
        wanted = isinstance(sort, ast.In)
        return lambda one, other: (other is not None and _is_in(one, other)) is wanted
    if type(sort) in _EQUALITY:
        return _bounded(_EQUALITY[type(sort)])
    compare = _bounded(_ORDER[type(sort)])
    return lambda one, other: one is not None and other is not None and compare(one, other)


def _bounded(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a comparison that raises for an integer too long to be converted to `Decimal`."""

    def apply(one: Any, other: Any) -> bool:
        if isinstance(one, Decimal) or isinstance(other, Decimal):
            check_operands(one, other)
        return compare(one, other)

    return apply


def _is_in(one: Any, other: Any) -> bool:
    if isinstance(one, Decimal) and not isinstance(other, str | bytes):
        check_operands(*other)
    elif isinstance(one, int):
        check_operands(one)
    return one in other


def _comparison(values: Sequence[Evaluate], comparisons: Sequence[Callable[[Any, Any], bool]]) -> Evaluate:
    first, *rest = values
    steps = list(zip(comparisons, rest, strict=True))

    def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> bool:
        one = first(row, fields)
        for compare, value in steps:
            other = value(row, fields)
            if not compare(one, other):
                return False
            one = other
        return True

    return evaluate


def _choice(test: Evaluate, body: Evaluate, other: Evaluate) -> Evaluate:
    return lambda row, fields: body(row, fields) if test(row, fields) else other(row, fields)


def _call(name: str, arguments: Sequence[Evaluate]) -> Evaluate:
    function = FUNCTIONS[name]
    call = function.call
    takes_null = function.takes_null or not arguments

    def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> Any:
        given = [argument(row, fields) for argument in arguments]
        return None if not takes_null and given[0] is None else call(*given)

    return evaluate


def _listed(values: Sequence[Evaluate]) -> Evaluate:
    return lambda row, fields: [value(row, fields) for value in values]


def _member(value: Evaluate, name: str) -> Evaluate:
    def evaluate(row: Sequence[Any], fields: Mapping[str, Any]) -> Any:
        found = value(row, fields)
        if found is None:
            return None
        if isinstance(found, Mapping):
            return found.get(name)
        if name in getattr(found, "_fields", ()):  # a value of a user type
            return getattr(found, name)
        raise TypeError(f"expected an object with a member {name!r}, found {type(found).__name__}")

    return evaluate


def _item(value: Any, index: Any) -> Any:
    if value is None or index is None:
        return None
    try:
        return value[index]
    except (KeyError, IndexError):
        return None


def _slice(value: Any, lower: Any, upper: Any) -> Any:
    return None if value is None else value[lower:upper]
