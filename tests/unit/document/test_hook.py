from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.document_operation import Operation
from cdc_daemon.model.errors import ConfigError, DocumentError
from cdc_daemon.model.signal import TableName
from tests.unit.document.tables import table

USER = table(("id", "text", "partition_key"), ("firstname", "text", "regular"))
MODULE = "tests.unit.document.hooks"


def build(hook: str, firstname: str | None, **settings: Any) -> Operation:
    declared = MappingSettings(
        table=TableName("sunbird", "t"), alias="a", hook=hook, constants={"nested": {"list": []}}, **settings
    )
    operation_of = DocumentMapping("user", declared, USER).compile(("id", "firstname"))
    return operation_of(("u1", firstname), (b"u1", ()), 17, 0.5)


def test_what_a_hook_returns_is_the_document() -> None:
    made = build(f"{MODULE}:add_length", "Asha")
    assert made.body is not None
    assert orjson.loads(made.body) == {
        "id": "u1",
        "firstname": "Asha",
        "nested": {"list": ["u1"]},
        "length": 4,
        "joined": [],
    }


def test_a_hook_may_change_its_document_and_no_other() -> None:
    for _ in range(2):
        made = build(f"{MODULE}:add_length", "Asha").body
        assert made is not None
        assert orjson.loads(made)["nested"] == {"list": ["u1"]}


def test_none_means_no_document() -> None:
    assert build(f"{MODULE}:add_length", "nobody") == Operation("a", "u1", 17, None, 0.5, filtered=True)


def test_a_hook_that_raises_fails_this_document_alone() -> None:
    with pytest.raises(DocumentError, match="ValueError: no such name") as caught:
        build(f"{MODULE}:add_length", "bad")
    assert caught.value.where == {"object_type": "user", "index": "a", "id": "u1", "hook": f"{MODULE}:add_length"}


def test_a_hook_has_to_return_an_object() -> None:
    with pytest.raises(DocumentError, match="found list"):
        build(f"{MODULE}:list_instead", "x")


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (f"{MODULE}:absent", "expected a function 'absent'"),
        (f"{MODULE}:NO_FUNCTION", "expected a function"),
        ("tests.unit.document.absent:hook", "expected a Python module"),
    ],
)
def test_a_hook_that_is_not_there_is_told_at_the_start(hook: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(hook, "x")
