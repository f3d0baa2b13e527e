"""The page of field types: each CQL type, its value in a document's JSON, and its field in the index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cassandra.util import Date, Duration, Time

from cdc_daemon.config.type_names import TYPE_NAMES
from cdc_daemon.document.field_types import DEFAULT_TYPES
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.field_types import with_flattened_as, without_indexed_vectors
from cdc_daemon.search.engines.product import OPENSEARCH, flattened_type
from cdc_daemon.values.cql_json import converter

_UUID = UUID("7ea2c300-e772-11f1-bc9f-47671d181370")

_SAMPLES: Mapping[str, Any] = {
    "ascii": "text",
    "bigint": 9007199254740993,
    "blob": b"\x01\xff",
    "boolean": True,
    "counter": 7,
    "date": Date("2026-02-03"),
    "decimal": Decimal("12.340"),
    "double": 1.5,
    "duration": Duration(1, 2, 3_000_000_000),
    "float": 1.5,
    "inet": "192.0.2.1",
    "int": 7,
    "list<int>": [1, 2],
    "map<text, int>": {"a.b": 1},
    "set<text>": ["a", "b"],
    "smallint": 7,
    "text": "text",
    "time": Time("04:05:06.789"),
    "timestamp": datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC),
    "timeuuid": _UUID,
    "tinyint": 7,
    "tuple<int, text>": (1, "a"),
    "uuid": _UUID,
    "varint": 2**70,
    "vector<float, 3>": [0.5, 1.0, 1.5],
}
"""A value of each type, as the driver returns it."""

_HEAD = """\
# Field types

This page shows how a value of each CQL type stands in a document, and which field it gets in the index. It is
generated from the code by `make docs`. The fields are those of an index whose mapping the daemon generates (without
`mappings` or `mappings_file`). `types` declares other fields, by CQL type, for all mappings or for one:

```yaml
types:
  decimal: {type: scaled_float, scaling_factor: 100}   # two digits, as for amounts of money
  varint: {type: long}
  map: {type: object, enabled: false}                  # stored and not searched
```

`field_types` of a mapping declares single fields and takes precedence. Changes apply to an index that the daemon
creates, for example by `cdc-daemon backfill TYPE --new-index`; an existing index is not changed.

"""

_TAIL = """
- **A decimal or varint** stands in the document as text, with every digit. The index parses the text to a number, for
  ranges, sorting and sums: a `double` is exact to about 15 digits. The subfield `.exact` has the exact text as a
  keyword (up to 8191 characters), so `{"term": {"price.exact": "12.340"}}` finds it exactly. A number out of the
  range of its field is found by `.exact` only. A number declared in `types` for these CQL types gets the same
  subfield and `ignore_malformed`, unless it declares its own.
- **A map** is one flattened field: `{"term": {"attributes.colour": "red"}}` finds an entry. All values are compared
  as texts. Values of more than 8191 characters are stored and not indexed. A map with an entry of more than 32 kB
  (key and value), with a NUL character in a key, or with more than 15 objects inside each other may not fit. If the
  index refuses the document for this reason, the whole field is stored in `cdc_unindexed` instead, which is not
  searched, and the log says so (`elasticsearch.values_not_indexed`).
- **Maps and vectors without a type in the engine** are stored and not searched: maps in Elasticsearch 7.10 and
  OpenSearch before 2.7, vectors in all engines but Elasticsearch 8 and later. The log
  (`elasticsearch.fields_not_searched`) and `cdc-daemon check` name the fields. The JSON of the document is the same
  in every engine.
- **Lists and sets** have the field of their elements, user types an object with one field for each of theirs. Columns
  of `json_text`, and joins with `form: map`, are stored and not searched.

## Upgrading from 0.1

Decimals and varints were keywords, and maps were stored and not searched. The JSON of documents has not changed, so
existing indices keep working as they are: they are not changed (except for a new field `cdc_unindexed` where a table
has maps, and the fields of columns that are added later, which get the new types), and the former types are not
reported as drift. To get the new types in an existing index, run `cdc-daemon backfill TYPE --new-index`. To keep the
former ones also in new indices:

```yaml
types:
  decimal: {type: keyword, ignore_above: 8191}
  varint: {type: keyword, ignore_above: 8191}
  map: {type: object, enabled: false}
```
"""


def type_page() -> str:
    """Return docs/field-types.md."""
    return _HEAD + "\n".join(_table()) + "\n" + _TAIL


def _table() -> Iterator[str]:
    yield "| CQL type | JSON | Elasticsearch 8 and 9 | OpenSearch 2.7 to 3 |"
    yield "| --- | --- | --- | --- |"
    assert {name.partition("<")[0] for name in _SAMPLES} == {*TYPE_NAMES, "list", "set"}
    for name, value in _SAMPLES.items():
        kind = parse_type(name)
        field = DEFAULT_TYPES.of(kind)
        other = with_flattened_as(flattened_type(Product(OPENSEARCH, "2.19.5")), without_indexed_vectors(field))
        yield f"| `{name}` | `{_json(kind, value)}` | {_shown(field)} | {'same' if other == field else _shown(other)} |"


def _json(kind: CqlType, value: Any) -> str:
    convert = converter(kind)
    return json.dumps(value if convert is None else convert(value))


def _shown(field: Mapping[str, Any]) -> str:
    """Return a field in words."""
    if field.get("enabled") is False:
        return "stored, not searched"
    subfields = ", ".join(f"`.{name}` {each['type']}" for name, each in field.get("fields", {}).items())
    return f"{field['type']}{f' (and {subfields})' if subfields else ''}"
