"""What a document should be, computed from the rows that the driver returns.

It shares no code with the daemon: a mistake of the daemon's decoder or document builder is not repeated here.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cassandra.util import Date, Duration, Time

Documents = dict[str, dict[str, Any]]

OWN_FIELDS = ("cdc_partition_key", "cdc_clustering", "cdc_key")
"""Fields that the daemon adds for itself."""


def project(rows: Iterable[Mapping[str, Any]], key: list[str], where: str | None = None) -> Documents:
    """Return the document of each row by its id. `where` is the only filter of a run: `hidden != true`."""
    shown: Documents = {}
    for row in rows:
        parts = [row[name] for name in key]
        if any(part is None for part in parts) or (where is not None and row["hidden"] is True):
            continue  # the first are partitions with nothing but static columns
        shown[identity(parts)] = bare({name: plain(value) for name, value in row.items()})
    return shown


def join(
    customers: Documents, purchases: Iterable[Mapping[str, Any]], cities: Iterable[Mapping[str, Any]]
) -> Documents:
    """Return the documents of customers with the rows of their purchases, in order, and the names of their cities."""
    of_customer: dict[Any, list[Mapping[str, Any]]] = {}
    for purchase in purchases:
        of_customer.setdefault(purchase["customer"], []).append(purchase)
    names = {city["id"]: city["name"] for city in cities}
    return {
        name: bare(
            {
                **customer,
                "townName": names.get(customer.get("city")),
                "purchases": [
                    bare({column: plain(value) for column, value in each.items() if column != "customer"})
                    for each in sorted(of_customer.get(customer["id"], ()), key=lambda row: int(row["n"]))
                ],
            }
        )
        for name, customer in customers.items()
    }


def identity(parts: list[Any]) -> str:
    """Return the id of a document: its only key value, or all of them, escaped and joined by colons."""
    texts = [part if isinstance(part, str) else str(plain(part)) for part in parts]
    if len(texts) == 1:
        return texts[0]
    return ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in texts)


def plain(value: Any) -> Any:
    """Return the JSON value of a value from the driver."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case Decimal():
            return f"{value:f}"
        case UUID() | Date() | Time() | Duration() | date():
            return str(value)
        case tuple() if hasattr(value, "_asdict"):
            return {name: plain(field) for name, field in value._asdict().items()}
        case Mapping():
            return {str(plain(name)): plain(entry) for name, entry in value.items()}
        case _:
            return [plain(each) for each in value]


def bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without fields that say nothing: null, and those that the daemon adds for itself.

    Cassandra knows no empty collections, and a column that was added later is absent or null.
    """
    return {name: value for name, value in document.items() if value is not None and name not in OWN_FIELDS}
