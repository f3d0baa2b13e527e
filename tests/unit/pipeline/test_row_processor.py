"""Which first reads are trusted (docs/guarantees.md, promise 2)."""

from __future__ import annotations

import pytest

from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.reading import RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.row_processor import is_doubtful


def entry(*, written: int = 0, removed: int = 0, suspected: int = 0) -> Entry:
    made = Entry(Key(TableName("k", "t"), b"key", ()))
    made.written, made.removed, made.suspected = written, removed, suspected
    return made


def present(newest: int | None) -> RowState:
    return RowState(("value",), newest)


ABSENT = RowState(None, None)


@pytest.mark.parametrize(
    ("said", "read", "doubtful"),
    [
        (entry(written=10), present(10), False),
        (entry(written=10), present(11), False),
        (entry(written=10), present(9), True),  # a removed cell, or not visible yet
        (entry(written=10), ABSENT, True),
        (entry(written=10), present(None), True),  # the table shows no write time
        (entry(removed=10), ABSENT, False),
        (entry(removed=10), present(9), True),
        (entry(removed=10), present(10), True),  # at equal times a deletion wins: it is not visible yet
        (entry(removed=10), present(11), False),
        (entry(written=11, removed=10), ABSENT, True),
        (entry(written=9, removed=10), ABSENT, False),
        (entry(written=9, suspected=10), ABSENT, True),  # the removal may not have covered it
        (entry(suspected=10), ABSENT, False),
        (entry(suspected=10), present(10), True),
        (entry(suspected=10), present(11), False),
        (entry(suspected=10), present(None), True),
        (entry(), ABSENT, False),  # nobody said anything: what is read is what there is
        (entry(), present(None), False),
        (entry(), present(3), False),
        (entry(written=10), RowState(None, None, DocumentError("cannot be decoded")), False),
    ],
)
def test_a_read_is_doubted_when_it_does_not_show_what_was_said(said: Entry, read: RowState, doubtful: bool) -> None:
    assert is_doubtful(said, read) is doubtful
