"""Files of ids: lines and JSON lists, read piece by piece."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cdc_daemon.model import id_file
from cdc_daemon.model.id_file import FileEntry, read_entries


def entries(content: bytes) -> list[FileEntry]:
    return list(read_entries(io.BytesIO(content)))


def ids(content: bytes) -> list[tuple[int, Any]]:
    found = entries(content)
    assert all(each.problem is None for each in found), found
    return [(each.line, each.identity) for each in found]


def problems(content: bytes) -> list[int]:
    return [each.line for each in entries(content) if each.problem is not None]


def test_one_id_on_each_line() -> None:
    assert ids(b"\xef\xbb\xbfu1\r\n\n  u2 \n" + b'{"a": 1}\nu3') == [(1, "u1"), (3, "u2"), (4, {"a": 1}), (5, "u3")]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[]", b"\n[ ]\n"])
def test_a_file_without_ids(content: bytes) -> None:
    assert entries(content) == []


def test_bad_lines_are_named_and_the_rest_goes_on() -> None:
    content = b"u1\n{broken\n\xff\xfe\n" + b"x" * (id_file.LONGEST + 5) + b"\nu5\n{}\n"
    assert problems(content) == [2, 3, 4]
    assert [(each.line, each.identity) for each in entries(content) if each.problem is None] == [
        (1, "u1"),
        (5, "u5"),
        (6, {}),
    ]


def test_deep_json_is_a_bad_line() -> None:
    assert problems(b'{"a": ' + b"[" * 100_000 + b"\nu2") == [1]


def test_a_json_list() -> None:
    content = b'\n[\n "u1", 7,\n {"a": ["]", "\\""]}\n,"\xc3\xa9"]\n'
    assert ids(content) == [(3, "u1"), (3, "7"), (4, {"a": ["]", '"']}), (5, "é")]


@pytest.mark.parametrize(
    ("content", "good", "bad"),
    [
        (b'["a", null, true, 1.5,\n[1], "b"]', ["a", "b"], [1, 1, 1, 2]),
        (b'["a",\n"b"', ["a", "b"], [2]),
        (b'["a" "b"]', ["a"], [1]),
        (b'["a",]', ["a"], [1]),
        (b'["a"] x', ["a"], [1]),
        (b'["a",\n"b', ["a"], [2]),
        (b'["a", "\xff"]', [], [1]),
        (b'["a", ' + b"[" * 100_000, ["a"], [1]),
    ],
)
def test_mistakes_in_a_json_list(content: bytes, good: list[str], bad: list[int]) -> None:
    found = entries(content)
    assert [each.identity for each in found if each.problem is None] == good
    assert [each.line for each in found if each.problem is not None] == bad


def test_a_list_longer_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_file, "_PIECE", 7)
    wanted = [f"é{number}" * (number % 5) or str(number) for number in range(500)] + [
        {"k": number} for number in range(50)
    ]
    content = json.dumps(wanted, ensure_ascii=False, indent=1).encode()
    assert [identity for _, identity in ids(content)] == wanted
    assert ids(b"[\n123456789012345,\n1]") == [(2, "123456789012345"), (3, "1")]


def test_memory_stays_flat() -> None:
    """An element without an end is given up, not collected."""

    class Endless(io.RawIOBase):
        given = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            return b'["' + b"x" * (size - 2)

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            assert self.given < 8 * id_file.LONGEST
            return b"x" * size

    found = list(read_entries(Endless()))  # type: ignore[arg-type]  # it has what is read with
    assert [each.problem is None for each in found] == [False]


def test_how_much_was_read() -> None:
    content = b"u1\nu22\n"
    assert [each.read for each in entries(content)] == [3, 7]
    assert entries(b'["a", "b"]')[-1].read == 10
