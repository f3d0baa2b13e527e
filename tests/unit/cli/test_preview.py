"""A preview of a removed row whose document is kept."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.cli.expected_documents import Preview
from cdc_daemon.cli.preview import show_preview
from cdc_daemon.model.document_operation import RemovalMark

MARK = RemovalMark("deleted", "deleted_at")


@pytest.mark.parametrize(
    ("indexed", "equal", "text"),
    [
        (None, True, "there would be no document"),
        ({"id": "a"}, False, "would be marked as removed"),
        ({"id": "a", "deleted": True}, True, "is kept and marked as removed"),
    ],
)
def test_a_marked_document_equals_a_removed_row(
    indexed: dict[str, Any] | None, equal: bool, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Preview("a", "users", None, indexed, has_row=False, mark=MARK)
    assert found.is_equal is equal
    show_preview(found)
    assert text in capsys.readouterr().out


def test_a_marked_document_of_a_row_that_exists_differs() -> None:
    found = Preview("a", "users", b'{"id":"a"}', {"id": "a", "deleted": True}, mark=MARK)
    assert not found.is_equal
    assert found.differing == ["deleted"]
