from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from cassandra.util import SortedSet
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.cql_json import json_value
from cdc_daemon.values.expression import LONGEST, Expression
from cdc_daemon.values.functions import FUNCTIONS


class Address(NamedTuple):
    street: str


ROW: Mapping[str, Any] = {
    "a": 6,
    "b": 4,
    "name": " Asha Rao ",
    "nothing": None,
    "no": False,
    "tags": SortedSet(["x", "y"]),
    "words": ["b", None, "a", "b"],
    "scores": [3, None, 1],
    "price": Decimal("1.50"),
    "at": datetime(2026, 2, 3, 4, 5, 6, 789_000),  # noqa: DTZ001 -- the driver gives naive UTC
    "settings": {"theme": "dark"},
    "address": Address("Main"),
    "text": '{"k": [1]}',
}
FIELDS: Mapping[str, Any] = {"organisations": [{"id": "o1", "main": True}, {"id": "o2", "main": False}]}


def evaluate(text: str) -> Any:
    places = {name: at for at, name in enumerate(ROW)}
    return Expression(text).compile(places, FIELDS)(list(ROW.values()), FIELDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", 6),
        ("a >= 4", True),
        ("4 <= a < 6", False),
        ("a + b * 2 - 1", 13),
        ("a / b", 1.5),
        ("a // b", 1),
        ("a % b", 2),
        ("-a", -6),
        ("a & 2", 2),
        ("a | 1", 7),
        ("a ^ 2", 4),
        ("a > nothing", False),
        ("nothing > a", False),
        ("nothing == null", True),
        ("nothing is None", True),
        ("a is not null", True),
        ("nothing != 1", True),
        ("a + nothing", None),
        ("-nothing", None),
        ("not no and a > 1", True),
        ("nothing or 'other'", "other"),
        ("'yes' if a > b else 'no'", "yes"),
        ("'x' in tags", True),
        ("'z' not in tags", True),
        ("'z' in nothing", False),
        ("a in [1, 6]", True),
        ("settings.theme", "dark"),
        ("settings['theme']", "dark"),
        ("settings.missing", None),
        ("nothing.anything", None),
        ("address.street", "Main"),
        ("words[0]", "b"),
        ("words[9]", None),
        ("words[:1]", ["b"]),
        ("nothing[0]", None),
        ("nothing[1:]", None),
        ("f'{a}:{nothing}:{b}'", "6::4"),
        ("{'n': a, 'm': [b]}", {"n": 6, "m": [4]}),
        ("(a, b)", [6, 4]),
        ("[each.id for each in organisations if each.main]", ["o1"]),
        ("any(each.main for each in organisations)", True),
        ("all(each.main for each in organisations)", False),
        ("[a for a in scores]", [3, None, 1]),
        ("[x for x in nothing]", None),
        ("blank(name)", False),
        ("blank('  ')", True),
        ("blank(nothing)", True),
        ("blank([])", True),
        ("blank(a)", False),
        ("bits(a, 2)", True),
        ("bits(a, 5)", False),
        ("bits(nothing, 1)", False),
        ("coalesce(nothing, a, b)", 6),
        ("coalesce(nothing)", None),
        ("trim(lower(name))", "asha rao"),
        ("upper(nothing)", None),
        ("length(name)", 10),
        ("text(price)", "1.50"),
        ("text(no)", "false"),
        ("number('12')", 12),
        ("number(' 1.5 ')", 1.5),
        ("number('x')", None),
        ("number('x', 0)", 0),
        ("number('NaN')", None),
        ("json(text)", {"k": [1]}),
        ("json('{')", None),
        ("json('{', [])", []),
        ("json_text(settings)", '{"theme":"dark"}'),
        ("date(at, 'yyyy-MM-dd')", "2026-02-03"),
        ("split('a,b', ',')", ["a", "b"]),
        ("join(words, '+')", "b+a+b"),
        ("replace('a-b', '-', '_')", "a_b"),
        ("starts('abc', 'ab')", True),
        ("ends('abc', 'ab')", False),
        ("first(tags)", "x"),
        ("last(tags)", "y"),
        ("first([])", None),
        ("unique(words)", ["b", None, "a"]),
        ("sort(words)", ["a", "b", "b"]),
        ("min(scores)", 1),
        ("max(scores)", 3),
        ("sum(scores)", 4),
        ("max([])", None),
        ("keys(settings)", ["theme"]),
        ("values(settings)", ["dark"]),
        ("round(a / b)", 2),
        ("round(7 / 9, 2)", 0.78),
        ("sha256('a')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("true", True),
        ("1.5", 1.5),
    ],
)
def test_an_expression_is_worked_out(text: str, expected: Any) -> None:
    assert json_value(evaluate(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "a = 1",
        "lambda: 1",
        "__import__('os')",
        "a.__class__",
        "().__class__.__bases__",
        "a ** b",
        "a << b",
        "~a",
        "+a",
        "b'x'",
        "1j",
        "...",
        "f'{a!r}'",
        "f'{a:>10}'",
        "[x for x in words for y in words]",
        "[x for x, y in words]",
        "{x for x in words}",
        "{x: 1 for x in words}",
        "{**settings}",
        "lower(*words)",
        "lower(value=name)",
        "name.lower()",
        "open('x')",
        "eval('1')",
        "words[::2]",
        "(yield)",
        "a if b",
        "(a := 1)",
        "await a",
        "x" * (LONGEST + 1),
        "(" * 300 + "a" + ")" * 300,
        "a\0",
    ],
)
def test_what_expressions_may_not_say(text: str) -> None:
    with pytest.raises((ConfigError, TypeError)):
        evaluate(text)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'nam'") as caught:
        evaluate("lower(nam)")
    assert caught.value.hint == "did you mean 'name'?"


def test_an_unknown_function_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'lowr'") as caught:
        evaluate("lowr(name)")
    assert caught.value.hint == "did you mean 'lower'?"


@pytest.mark.parametrize(
    "text", ["name + 1", "name < 1", "name * 3", "words * 2", "a.b", "lower(a)", "a / 0", "a in b"]
)
def test_values_that_do_not_fit_raise(text: str) -> None:
    with pytest.raises((TypeError, ArithmeticError)):
        evaluate(text)


def test_a_comprehension_s_name_hides_a_column_and_ends_with_it() -> None:
    assert evaluate("[sum([a for a in scores]), a]") == [4, 6]


def test_a_column_that_was_dropped_is_null() -> None:
    assert Expression("coalesce(gone, a)").compile({"gone": -1, "a": 0})([7], {}) == 7


@pytest.mark.parametrize(
    ("text", "boolean"),
    [
        ("a > 1", True),
        ("not a", True),
        ("a > 1 and not b", True),
        ("a and b > 1", False),
        ("true", True),
        ("bits(a, 1)", True),
        ("lower(name)", False),
        ("true if a else false", True),
        ("1", False),
    ],
)
def test_whether_it_can_only_be_true_or_false_is_known(text: str, *, boolean: bool) -> None:
    assert Expression(text).is_boolean is boolean


@pytest.mark.parametrize(
    "text",
    [
        "a * a",
        "a // 7",
        "a % a",
        "a + 1.5",
        "-a",
        "a == b",
        "a < b",
        "b in [a]",
        "a in [b]",
        "max([a, b])",
        "sum([a, b])",
    ],
)
def test_a_number_that_python_takes_hours_for_is_refused_at_once(text: str) -> None:
    made = Expression(text).compile({"a": 0, "b": 1})
    with pytest.raises(ValueError, match=r"at most 4,200 digits in an expression, found one of 16,777,21\d bytes"):
        made([1 << 8 * 2**24, Decimal("1.5")], {})


def test_a_number_that_fills_the_memory_is_refused_at_once() -> None:
    made = Expression("round(a)").compile({"a": 0})
    with pytest.raises(ValueError, match=r"at most 4,200 digits, found 10\^2,147,483,648"):
        made([Decimal("1E+2147483648")], {})
    assert made([Decimal("1.6")], {}) == 2
    assert Expression("round(a, 1)").compile({"a": 0})([Decimal("1.26")], {}) == Decimal("1.3")


@pytest.mark.parametrize(
    ("value", "number"),
    [(1 << 8 * 2**24, None), (2**63, float(2**63)), (-(2**63), -float(2**63)), (5, 5), (True, 1)],
    ids=["huge", "long", "least", "small", "true"],
)
def test_the_number_of_a_number(value: int, number: float | None) -> None:
    found = Expression("number(a)").compile({"a": 0})([value], {})
    assert (found, type(found)) == (number, type(number))


def test_an_expression_that_is_only_a_name_tells_it() -> None:
    assert Expression("a").only_name == "a"
    assert Expression("null").only_name is None
    assert Expression("a + 1").only_name is None


def test_every_function_says_what_it_gives() -> None:
    assert all(function.gives for function in FUNCTIONS.values())
    assert list(FUNCTIONS) == sorted(FUNCTIONS)


@given(st.text(alphabet="ab()[]{}.'\"+-*/<>=!, 01if else not and or in for\n\\", max_size=40))
def test_any_text_is_an_expression_or_told_to_be_none(text: str) -> None:
    try:
        made = Expression(text).compile({"a": 0, "b": 1})
    except ConfigError:
        return
    try:
        made([1, "x"], {})
    except (TypeError, ArithmeticError, ValueError):
        return
