"""The part of Java's object serialization that a keystore needs: plain objects with their fields.

`Java Object Serialization Specification`, version 6, chapter 6. Objects with custom serialization, block data and
proxies are refused.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from cdc_daemon.model.errors import ConfigError

_MAGIC: Final = b"\xac\xed\x00\x05"
_TC_NULL: Final = 0x70
_TC_REFERENCE: Final = 0x71
_TC_CLASSDESC: Final = 0x72
_TC_OBJECT: Final = 0x73
_TC_STRING: Final = 0x74
_TC_ARRAY: Final = 0x75
_TC_ENDBLOCKDATA: Final = 0x78
_TC_ENUM: Final = 0x7E
_BASE_HANDLE: Final = 0x7E0000
_SC_SERIALIZABLE: Final = 0x02
_SC_WRITE_METHOD: Final = 0x01
_PRIMITIVES: Final = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}
_DEPTH: Final = 16


class _ClassDescription:
    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: list[tuple[str, str]] = []
        self.parent: _ClassDescription | None = None


class JavaObject:
    """An object: its class's name and its fields, including inherited ones."""

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name
        self.fields: dict[str, Any] = {}


def read_object(data: bytes, position: int = 0) -> tuple[JavaObject, int]:
    """Read the object from the stream at `position`; return it and the position after it.

    Raises `ConfigError` when the bytes are no such stream.
    """
    stream = _Stream(data, position)
    try:
        if stream.take(len(_MAGIC)) != _MAGIC:
            raise ConfigError("expected a serialized Java object, found something else")
        found = stream.content()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ConfigError("expected a serialized Java object, found part of one") from error
    if not isinstance(found, JavaObject):
        raise ConfigError("expected a serialized Java object, found another kind of content")
    return found, stream.position


class _Stream:
    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.handles: list[Any] = []
        self.depth = 0

    def take(self, size: int) -> bytes:
        start = self.position
        self.position = start + size
        if self.position > len(self.data):
            raise IndexError
        return self.data[start : self.position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        return self.take(self.number(2)).decode("utf-8")

    def content(self) -> Any:
        self.depth += 1
        if self.depth > _DEPTH:
            raise ConfigError("expected a key, found an object nested too deep")
        kind = self.number(1)
        readers = {
            _TC_NULL: lambda: None,
            _TC_REFERENCE: self.reference,
            _TC_CLASSDESC: self.description,
            _TC_OBJECT: self.object,
            _TC_STRING: self.string,
            _TC_ARRAY: self.array,
            _TC_ENUM: self.enum,
        }
        if kind not in readers:
            raise ConfigError(f"expected a serialized Java object, found content of type {kind:#x}")
        found = readers[kind]()
        self.depth -= 1
        return found

    def reference(self) -> Any:
        return self.handles[self.number(4) - _BASE_HANDLE]

    def string(self) -> str:
        found = self.text()
        self.handles.append(found)
        return found

    def class_of(self) -> _ClassDescription:
        found = self.content()
        if not isinstance(found, _ClassDescription):
            raise ConfigError("expected a class description in a serialized Java object")
        return found

    def description(self) -> _ClassDescription:
        found = _ClassDescription(self.text())
        self.take(8)
        self.handles.append(found)
        flags = self.number(1)
        if flags & _SC_WRITE_METHOD or not flags & _SC_SERIALIZABLE:
            raise ConfigError(f"cannot read objects of class {found.name}, which write themselves")
        for _ in range(self.number(2)):
            code = chr(self.number(1))
            name = self.text()
            if code in "[L":
                self.content()
            elif code not in _PRIMITIVES:
                raise ConfigError(f"expected a field's type, found {code!r}")
            found.fields.append((code, name))
        if self.number(1) != _TC_ENDBLOCKDATA:
            raise ConfigError(f"cannot read objects of class {found.name}, which annotate their class")
        parent = self.content()
        if parent is not None and not isinstance(parent, _ClassDescription):
            raise ConfigError("expected a class description in a serialized Java object")
        found.parent = parent
        return found

    def object(self) -> JavaObject:
        described: _ClassDescription | None = self.class_of()
        assert described is not None
        found = JavaObject(described.name)
        self.handles.append(found)
        lineage = []
        while described is not None:
            lineage.append(described)
            described = described.parent
        for each in reversed(lineage):
            for code, name in each.fields:
                size = _PRIMITIVES.get(code)
                found.fields[name] = self.content() if size is None else self.take(size)
        return found

    def array(self) -> bytes:
        described = self.class_of()
        if described.name != "[B":
            raise ConfigError(f"expected an array of bytes, found {described.name}")
        index = len(self.handles)
        self.handles.append(b"")
        found = self.handles[index] = self.take(self.number(4))
        return found

    def enum(self) -> str:
        self.class_of()
        index = len(self.handles)
        self.handles.append("")
        found = self.handles[index] = str(self.content())
        return found
