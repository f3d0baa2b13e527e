"""The two-way comparison at the end of a run: each row has its document, and each document its row."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cassandra.cluster import Session

from bench.torture.projection import Documents, bare, join, project
from bench.torture.shapes import CITY, KEYSPACE, PURCHASE, Shape, alias_of

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Compared:
    """The result for one table."""

    table: str
    rows: int
    documents: int
    missing: Sequence[str]
    surplus: Sequence[str]
    different: Sequence[str]
    examples: Sequence[str]

    @property
    def is_equal(self) -> bool:
        """Whether rows and documents are the same."""
        return not (self.missing or self.surplus or self.different)

    def __str__(self) -> str:
        if self.is_equal:
            return f"{self.table}: {self.rows:,} rows, {self.documents:,} documents, equal"
        found = f"{len(self.missing)} missing, {len(self.surplus)} surplus, {len(self.different)} different"
        return "\n".join([f"{self.table}: {self.rows:,} rows, {self.documents:,} documents: {found}", *self.examples])


def request(url: str, method: str, path: str, body: Any = None, *, timeout: float = 60.0) -> Any:
    """Send a request to the search engine itself, past the proxy; return its answer. Raises `OSError`."""
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)) as connection:
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            found = json.loads(answer.read() or b"null")
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"the search engine answers {error!r}") from error
    if answer.status >= 400 and answer.status != 404:
        raise OSError(f"{method} {path} answers {answer.status}: {json.dumps(found)[:500]}")
    return found


def compare(session: Session, url: str, shape: Shape) -> Compared:
    """Compare a table with its documents."""
    rows, documents = read_rows(session, shape), dict(read_documents(url, alias_of(shape.name)))
    if shape.is_joined:
        for document in documents.values():
            document["purchases"] = [bare(each) for each in document.get("purchases", ())]
    if shape.keeps_removed:
        documents = {name: each for name, each in documents.items() if name in rows or each.get("deleted") is not True}
    different = sorted(name for name in rows.keys() & documents.keys() if rows[name] != documents[name])
    missing, surplus = sorted(rows.keys() - documents.keys()), sorted(documents.keys() - rows.keys())
    examples = [
        _example(name, rows.get(name), documents.get(name)) for name in [*missing[:3], *surplus[:3], *different[:3]]
    ]
    return Compared(shape.name, len(rows), len(documents), missing, surplus, different, examples)


def read_rows(session: Session, shape: Shape) -> Documents:
    """Return the documents that a table should have."""
    documents = project(_rows(session, shape.name), list(shape.key), shape.mapping.get("where"))
    return join(documents, _rows(session, PURCHASE), _rows(session, CITY)) if shape.is_joined else documents


def _rows(session: Session, table: str) -> Iterator[dict[str, Any]]:
    found = session.execute(f"SELECT * FROM {KEYSPACE}.{table}")  # noqa: S608 -- constants
    kinds = zip(found.column_names, found.column_types, strict=True)
    exact = {name for name, kind in kinds if kind.typename == "varint"}
    for row in found:
        yield {name: _exact(value) if name in exact else value for name, value in row._asdict().items()}


def _exact(value: int | None) -> str | None:
    """Return a varint as documents show it: as text, with every digit."""
    return None if value is None else str(value)


def read_documents(url: str, alias: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read all documents of an alias, by id."""
    request(url, "POST", f"/{alias}/_refresh")
    answer = request(url, "POST", f"/{alias}/_search?scroll=1m", {"size": _PAGE, "sort": ["_doc"]})
    while hits := answer["hits"]["hits"]:
        yield from ((hit["_id"], bare(hit["_source"])) for hit in hits)
        answer = request(url, "POST", "/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]})
    request(url, "DELETE", "/_search/scroll", {"scroll_id": [answer["_scroll_id"]]})


def _example(name: str, row: dict[str, Any] | None, document: dict[str, Any] | None) -> str:
    if row is None or document is None:
        return f"  {name}: row {row}, document {document}"[:600]
    fields = [each for each in row.keys() | document.keys() if row.get(each) != document.get(each)]
    return (
        f"  {name}: "
        + ", ".join(f"{each} is {row.get(each)!r}, shown as {document.get(each)!r}" for each in fields)[:600]
    )
