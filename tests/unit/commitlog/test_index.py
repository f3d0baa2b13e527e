from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.index import CdcIndex, parse_index


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("1030406\nCOMPLETED", CdcIndex(1030406, completed=True)),
        (b"518234", CdcIndex(518234, completed=False)),
        ("0", CdcIndex(0, completed=False)),
        ("33554432\nCOMPLETED\n", CdcIndex(33554432, completed=True)),
        ("", None),
        ("\n", None),
        ("12\n", None),
        ("12\nCOMP", None),
        ("-1", None),
        ("²", None),
        (b"\xff\xfe", None),
        ("9" * 40, None),
    ],
)
def test_parse(text: str | bytes, index: CdcIndex | None) -> None:
    assert parse_index(text) == index


@given(st.binary())
def test_any_bytes_are_an_index_or_again(data: bytes) -> None:
    found = parse_index(data)
    assert found is None or found.offset >= 0


@given(st.integers(0, 1 << 31))
def test_a_write_caught_in_the_middle_never_claims_completion(offset: int) -> None:
    text = f"{offset}\nCOMPLETED"
    for length in range(len(text)):
        found = parse_index(text[:length])
        assert found is None or (not found.completed and found.offset <= offset)
