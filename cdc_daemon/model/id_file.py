"""Files of ids of any size: one id on each line, or a JSON list. They are read piece by piece."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

LONGEST = 1 << 20
"""The maximum size of one id in bytes. A key of Cassandra has at most 64 KiB in each column."""

_PIECE = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"


class FileEntry(NamedTuple):
    """What a file has at a line: an id, or the `problem` why there is none. `read` is the number of bytes so far."""

    line: int
    identity: Any
    problem: str | None
    read: int


def read_entries(file: BinaryIO) -> Iterator[FileEntry]:
    """Yield the ids of a file, and the lines that have none. Empty lines are skipped.

    The file is a JSON list if its first character is `[`. After a mistake in the syntax of a list, nothing more can be
    read of it: that entry is the last one.
    """
    first = b""
    lines = 0
    while not first.strip(b" \t\r\n") and (piece := file.readline(LONGEST + 1)):
        first = piece.removeprefix(_BYTE_ORDER_MARK) if not lines else piece
        lines += 1
    if first.lstrip(b" \t").startswith(b"["):
        yield from _ListReader(file, first, lines).entries()
    elif first:
        yield from _lines(file, first, lines)


def _lines(file: BinaryIO, first: bytes, number: int) -> Iterator[FileEntry]:
    read = 0
    line = first
    while line:
        read += len(line)
        if len(line) > LONGEST:
            yield FileEntry(number, None, f"expected an id of at most {LONGEST} bytes, found a longer line", read)
            while line and not line.endswith(b"\n"):
                line = file.readline(_PIECE)
                read += len(line)
        elif line.strip():
            yield _entry_of(line, number, read)
        line = file.readline(LONGEST + 1)
        number += 1


def _entry_of(line: bytes, number: int, read: int) -> FileEntry:
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        return FileEntry(number, None, "expected a text in UTF-8, found other bytes", read)
    if not text.startswith("{"):
        return FileEntry(number, text, None, read)
    try:
        return FileEntry(number, json.loads(text), None, read)
    except (ValueError, RecursionError):
        return FileEntry(number, None, "expected an id or a JSON object, found broken JSON", read)


class _SyntaxError(Exception):
    """The text is not a JSON list."""


class _ListReader:
    """Reads the elements of a JSON list one by one, in bounded memory."""

    def __init__(self, file: BinaryIO, first: bytes, line: int) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._line = line
        self._read = 0
        self._ended = False
        self._text = ""
        self._at = 0
        self._rest = first

    def entries(self) -> Iterator[FileEntry]:
        """Yield an entry for each element. The last one names a mistake in the syntax."""
        try:
            self._skip("[")
            mark = self._next()
            while mark != "]":
                start = self._line
                yield self._entry(self._element(), start)
                mark = self._next()
                if mark != "]":
                    self._skip(",")
                    mark = self._next().replace("]", "a list may not end with a comma")
            self._skip("]")
            self._check_end()
        except (_SyntaxError, UnicodeDecodeError):
            problem = "expected a JSON list of ids in UTF-8, found a mistake here; the rest of the file was not read"
            yield FileEntry(self._line, None, problem, self._read)

    def _entry(self, element: Any, line: int) -> FileEntry:
        if isinstance(element, int) and not isinstance(element, bool):
            element = str(element)
        if isinstance(element, str | dict):
            return FileEntry(line, element, None, self._read)
        return FileEntry(line, None, "expected a text or an object, found another JSON value", self._read)

    def _element(self) -> Any:
        while True:
            try:
                element, end = self._json.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                end = len(self._text)
                if self._ended or end - self._at > LONGEST:
                    raise _SyntaxError from None
            else:
                if end < len(self._text) or self._ended:
                    self._move(end)
                    return element
            self._fill()

    def _next(self) -> str:
        """Return the next character that is not space, without consuming it; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._move(self._at + 1)
            if self._ended:
                return ""
            self._fill()

    def _skip(self, mark: str) -> None:
        if self._next() != mark:
            raise _SyntaxError
        self._move(self._at + 1)

    def _check_end(self) -> None:
        if self._next():
            raise _SyntaxError

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _fill(self) -> None:
        piece = self._rest or self._file.read(_PIECE)
        self._rest = b""
        self._read += len(piece)
        self._ended = not piece
        self._text = self._text[self._at :] + self._decoder.decode(piece, self._ended)
        self._at = 0
