"""The row of a document that cannot be built, in the form that a dead letter shows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from cdc_daemon.document.mapping import row_source
from cdc_daemon.document.related import Joined


def source(columns: list[str], row: list[Any], **kinds: Any) -> Any:
    return orjson.loads(row_source(columns, row, shown=kinds.get("shown", columns), joined=kinds.get("joined", {})))


def test_what_the_mapping_does_not_show_is_not_seen_in_joined_rows_either() -> None:
    columns = ["id", "password", "\0user\0\0roles", "\0user\0org\0name"]
    joined = Joined(("role", "secret", "\0roles\0org\0name"), [("PUBLIC", "s", "School"), ("ADMIN", "s", None)])
    found = source(columns, ["u1", "s", joined, "s"], shown={"id"}, joined={"\0user\0\0roles": ("role",)})
    assert found == {"id": "u1", "roles": [{"role": "PUBLIC"}, {"role": "ADMIN"}]}


class Odd:
    """A value that no converter knows, and that has no text."""

    def __str__(self) -> str:
        raise ValueError

    def __repr__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\xff", "/w=="),
        (Decimal("1.10"), "1.10"),
        (float("nan"), None),
        ({1: {"a"}}, {"1": ["a"]}),
        ("\ud800", "?"),
        ("कुमार", "कुमार"),
        (Odd(), "odd"),
    ],
)
def test_no_value_is_too_odd_to_be_seen(value: Any, shown: Any) -> None:
    assert source(["v"], [value]) == {"v": shown}


def test_an_integer_of_any_size_is_whole() -> None:
    assert row_source(["v"], [10**30], shown={"v"}, joined={}) == b'{"v":"1000000000000000000000000000000"}'
