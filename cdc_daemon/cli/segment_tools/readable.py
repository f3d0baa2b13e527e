"""Python values of the driver as JSON values that people and `jq` can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from cdc_daemon.values.integers import PLAIN_BITS


def readable(value: Any) -> Any:
    """Return a value of any CQL type, or a structure of such, as JSON values.

    Blobs are texts of `0x` and hex digits, timestamps ISO 8601 in UTC, maps and UDTs objects, sets, lists, tuples and
    vectors lists. Numbers stay numbers up to 4,200 digits; longer ones, which most readers of JSON refuse, are
    hexadecimal texts such as `0x1f` and `-0x1f`. Floats that are no numbers are the texts `NaN`, `Infinity` and
    `-Infinity`. Everything else is the text that CQL has for it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= PLAIN_BITS else hex(value)
    if isinstance(value, float):
        return value if isfinite(value) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {_name(readable(key)): readable(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: readable(each) for name, each in value._asdict().items()}
    if isinstance(value, list | tuple | set | frozenset) or (hasattr(value, "__iter__") and hasattr(value, "__len__")):
        return [readable(each) for each in value]
    return str(value)


def _name(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)
