"""Small expressions over a row: Python syntax, with an evaluator for the listed node types only.

An expression is parsed once (`ast`), each node of it must be one of a short list, and it is compiled to closures.
There is no `eval`, no access to attributes of Python objects, and no name except of a column, a field or a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.values.compiler import BINARY, CONSTANTS, Compiler, Evaluate, is_comparison
from cdc_daemon.values.functions import FUNCTIONS

LONGEST = 4000
"""Maximum number of characters of an expression."""


class Expression:
    """A parsed expression. Raises `ConfigError` for an invalid expression, or one that uses a forbidden construct.

    Null equals only null. An order comparison with null is false. Arithmetic with null is null, and
    so are a function of null and a missing element or member.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST:
            raise ConfigError(f"expected an expression of at most {LONGEST} characters, found {len(text)}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            self.names = frozenset(_Reader(text).names(self._tree, frozenset()))
        except SyntaxError as error:
            raise ConfigError(f"expected an expression, found {text!r}: {error.msg}", hint=_HINT) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f"expected an expression, found one that cannot be read: {error}") from None

    def compile(self, places: Mapping[str, int], fields: Iterable[str] = ()) -> Evaluate:
        """Compile the expression for rows with the columns' values at these positions.

        `fields` are further names that it may use, of fields built before. Raises `ConfigError` for any other
        name. The compiled expression raises the errors of Python's operators on values that do not fit them.
        """
        known = {*places, *fields}
        for name in sorted(self.names - known):
            raise ConfigError(
                f"expected a column or field in {self.text!r}, found {name!r}", hint=nearest_hint(name, known)
            )
        return Compiler(places).compile(self._tree)

    @property
    def is_boolean(self) -> bool:
        """Return whether its value can only be true or false."""
        return _is_boolean(self._tree)

    @property
    def only_name(self) -> str | None:
        """Return the name of the column or field if the expression is only that name."""
        return self._tree.id if isinstance(self._tree, ast.Name) and self._tree.id not in CONSTANTS else None


_HINT = "such as flagsvalue >= 4, or firstname + ' ' + lastname"


class _Reader:
    """Walks a tree, rejects nodes that are not listed, and collects the names that must be known."""

    def __init__(self, text: str) -> None:
        self.text = text

    def bad(self, what: str) -> ConfigError:
        return ConfigError(f"expected an expression, found {what} in {self.text!r}", hint=_HINT)

    def names(self, node: ast.expr, bound: frozenset[str]) -> Iterable[str]:
        match node:
            case ast.Name(id=name):
                if name not in CONSTANTS and name not in bound:
                    yield name
            case ast.ListComp(elt=element, generators=[only]) | ast.GeneratorExp(elt=element, generators=[only]):
                if only.is_async or not isinstance(only.target, ast.Name):
                    raise self.bad("a comprehension over more than one name")
                yield from self.names(only.iter, bound)
                inner = bound | {only.target.id}
                for each in (element, *only.ifs):
                    yield from self.names(each, inner)
            case _:
                for each in self._parts(node):
                    yield from self.names(each, bound)

    def _parts(self, node: ast.expr) -> Sequence[ast.expr]:  # noqa: C901, PLR0912 -- a table of cases
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, str | int | float | bool):
                return ()
            case ast.BoolOp(values=values):
                return values
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                return (operand,)
            case ast.BinOp(op=sort) if type(sort) in BINARY or isinstance(sort, ast.Mult):
                return (node.left, node.right)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(is_comparison(each) for each in ops):
                return (left, *others)
            case ast.IfExp(test=test, body=body, orelse=other):
                return (test, body, other)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                if name not in FUNCTIONS:
                    raise ConfigError(
                        f"expected a function in {self.text!r}, found {name!r}", hint=nearest_hint(name, FUNCTIONS)
                    )
                return arguments
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return elements
            case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
                return values
            case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=None)):
                return [each for each in (value, lower, upper) if each is not None]
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return (value, index)
            case ast.Attribute(value=value):
                return (value,)
            case ast.JoinedStr(values=values):
                return values
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return (value,)
            case _:
                raise self.bad(ast.unparse(node) if not isinstance(node, ast.Constant) else repr(node.value))


def _is_boolean(node: ast.expr) -> bool:
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Constant(value=bool()) | ast.Name(id="true" | "false"):
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_boolean, values))
        case ast.IfExp(body=body, orelse=other):
            return _is_boolean(body) and _is_boolean(other)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name].is_boolean
        case _:
            return False
