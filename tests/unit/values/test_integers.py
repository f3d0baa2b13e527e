"""Whole numbers of any length as text, and messages about any value."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdc_daemon.model.errors import CdcError
from cdc_daemon.values.integers import LONGEST, LONGEST_TEXT, integer_size, integer_text, parse_integer
from cdc_daemon.values.messages import error_text, json_bytes, value_text

LARGEST = 2 ** (8 * LONGEST - 1) - 1


def test_the_limit_of_the_process_is_left_alone() -> None:
    assert sys.get_int_max_str_digits() == sys.int_info.default_max_str_digits


@given(st.integers(), st.integers(0, 3000))
@example(1, 0)
@example(-7, 60_000)
@example(1, 52_000)
def test_a_number_is_spelled_digit_by_digit(number: int, zeros: int) -> None:
    text = f"{number}{'0' * zeros}" if number else "0"
    value = number * 10**zeros
    assert integer_text(value) == text
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    "value", [LARGEST, -LARGEST - 1, 10**4299, 10**4300, 1 << 14_000, (1 << 14_000) - 1], ids=integer_size
)
def test_the_longest_key_has_a_text(value: int) -> None:
    text = integer_text(value)
    assert len(text) <= LONGEST_TEXT
    assert parse_integer(text) == value


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 2, 1 << 8 * 16 * 1024 * 1024], ids=integer_size)
def test_a_number_longer_than_every_key_has_none(value: int) -> None:
    with pytest.raises(ValueError, match="at most 65,535 bytes, found one of"):
        integer_text(value)


@pytest.mark.parametrize("text", ["", "-", "+1", " 1", "1.0", "٣", "9" * LONGEST_TEXT, "1_0"], ids=len)
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_integer(text)


@pytest.mark.parametrize(
    ("value", "size"), [(0, 1), (127, 1), (128, 2), (-128, 1), (-129, 2), (LARGEST, LONGEST)], ids=lambda _: ""
)
def test_a_number_s_size_is_that_of_its_bytes_in_cassandra(value: int, size: int) -> None:
    assert integer_size(value) == size


class Odd:
    """A value that Python has no text for."""

    def __repr__(self) -> str:
        raise ValueError

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "value",
    [10**5000, [10**5000], {10**5000: {"a": (10**5000,)}}, Odd(), [Odd()], "\ud800", "x" * 10**6, b"x" * 10**6],
    ids=["number", "list", "map", "odd", "odd in a list", "surrogate", "long text", "long bytes"],
)
def test_any_value_is_shown_in_a_message(value: Any) -> None:
    assert len(value_text(value)) <= 2000
    assert value_text(value).encode()
    assert error_text(ValueError(value)).encode()
    assert orjson.loads(json_bytes({"value": value, "all": [value]}))


def test_a_message_tells_how_long_a_number_is() -> None:
    assert value_text([1, -(10**5000)]) == "[1, <whole number of 2,077 bytes>]"


def test_plain_data_is_as_it_was() -> None:
    assert json_bytes({"a": [1, "x", None, 1.5], "b": CdcError("no")}) == b'{"a":[1,"x",null,1.5],"b":"no"}'
    assert orjson.loads(json_bytes({"a": "x\ud800", "n": 2**70, "d": Decimal("1.5"), "t": True})) == {
        "a": "x?",
        "n": str(2**70),
        "d": "1.5",
        "t": True,
    }
