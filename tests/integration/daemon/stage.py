"""Tables, the indices that show them, and the comparison of the two: written without the daemon's own code."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cassandra import DriverException, ReadFailure
from cassandra.cluster import NoHostAvailable, Session
from elasticsearch import Elasticsearch

from bench.torture.projection import OWN_FIELDS, identity, plain
from sandbox import Sandbox
from tests.integration.daemon.harness import PATIENCE, DaemonProcess, wait_for

SMALL = {"number_of_shards": 1, "number_of_replicas": 0}
_SENTINEL = "sentinel"

Documents = dict[str, dict[str, Any]]


class Stage:
    """One keyspace with tables that have CDC, one alias for each mapped table, and a daemon that is not started."""

    def __init__(self, box: Sandbox, cql: Session, elastic: Elasticsearch, *, keyspace: str, directory: Path) -> None:
        self.box = box
        self.cql = cql
        self.elastic = elastic
        self.keyspace = keyspace
        self.mappings: dict[str, dict[str, Any]] = {}
        self.daemon = DaemonProcess(box, directory, mappings=self.mappings)
        self._numbers = itertools.count(1)
        self.table(_SENTINEL, "id int PRIMARY KEY, n int")

    def table(self, name: str, columns: str, *, options: str = "", **mapping: Any) -> str:
        """Create a table with CDC and declare its mapping; return its name with the keyspace."""
        self.create(name, columns, options=options)
        self.map(name, **mapping)
        return f"{self.keyspace}.{name}"

    def create(self, name: str, columns: str, *, options: str = "", cdc: bool = True) -> None:
        """Create a table and declare no mapping."""
        options = "".join(f" AND {option}" for option in (options,) if option)
        self.execute(f"CREATE TABLE {{ks}}.{name} ({columns}) WITH cdc = {'true' if cdc else 'false'}{options}")

    def map(self, name: str, **mapping: Any) -> None:
        """Declare a table's mapping."""
        alias = self.alias(name)
        usual = {"table": f"{self.keyspace}.{name}", "alias": alias, "settings": SMALL}
        self.mappings[name] = {**usual, **mapping}

    def alias(self, name: str) -> str:
        """Return the alias of a table's documents."""
        return f"{self.keyspace}-{name}"

    def mapping_of(self, name: str) -> dict[str, Any]:
        """Return the Elasticsearch mapping of a table's index."""
        (found,) = self.elastic.indices.get_mapping(index=self.alias(name)).body.values()
        mapping: dict[str, Any] = found["mappings"]
        return mapping

    def execute(self, statement: str, parameters: Any = None) -> Any:
        """Run a statement in which {ks} stands for the keyspace."""
        return self.cql.execute(statement.replace("{ks}", self.keyspace), parameters)

    def wait_session(self) -> None:
        """Return when the test's own session is back after Cassandra was away."""
        wait_for("the session to be back", self._is_session_there, pause=0.1)

    def _is_session_there(self) -> bool:
        try:
            return self.cql.execute("SELECT key FROM system.local").one() is not None
        except (DriverException, NoHostAvailable):
            return False

    def settle(self, *, seconds: float = PATIENCE) -> None:
        """Wait until all that was written before this call is settled by the daemon.

        The commit log is read in order, so when a row that is written last has its document, everything
        before it was handed over at least, and what the daemon has pending then is all that is left.
        """
        self.wait_shown(seconds=seconds)
        wait_for("nothing pending", self._is_settled, seconds=seconds)

    def wait_shown(self, *, seconds: float = PATIENCE) -> None:
        """Wait until a row that is written now has its document, whatever else is pending."""
        number = next(self._numbers)
        self.execute(f"INSERT INTO {{ks}}.{_SENTINEL} (id, n) VALUES (%s, 0)", [number])
        wait_for("the sentinel's document", lambda: self.get(_SENTINEL, str(number)), seconds=seconds)

    def get(self, name: str, identity: str) -> dict[str, Any] | None:
        """Return a document's source by the GET that needs no refresh, without the daemon's own fields."""
        client = self.elastic.options(ignore_status=404)
        found = client.get(index=self.alias(name), id=identity).body
        return _without_own_fields(found["_source"]) if found.get("found") else None

    def documents(self, name: str) -> Documents:
        """Return all documents of a table's alias, without the daemon's own fields."""
        alias = self.alias(name)
        self.elastic.indices.refresh(index=alias)
        found: Documents = {}
        after = None
        while True:
            answer = self.elastic.search(index=alias, size=5000, sort=["_doc"], search_after=after)
            hits = answer["hits"]["hits"]
            found |= {hit["_id"]: _without_own_fields(hit["_source"]) for hit in hits}
            if len(hits) < 5000:
                return found
            after = hits[-1]["sort"]

    def rows(self, name: str) -> Documents:
        """Return what the documents of a table without renames should be."""
        table = self.cql.cluster.metadata.keyspaces[self.keyspace].tables[name]
        key = [column.name for column in table.primary_key]
        return {
            identity([getattr(row, column) for column in key]): {
                column: plain(value) for column, value in row._asdict().items()
            }
            for row in self._read(name)
            if all(getattr(row, column) is not None for column in key)  # else nothing but static columns
        }

    def _read(self, name: str) -> list[Any]:
        """Read a whole table. Cassandra may fail to, for a moment after a column was dropped (ReadFailure)."""

        def read() -> tuple[list[Any]] | None:
            try:
                return (list(self.execute(f"SELECT * FROM {{ks}}.{name}")),)
            except ReadFailure:
                return None

        found = wait_for("the table to be readable", read)
        assert found is not None
        return found[0]

    def assert_equal(self, *names: str) -> None:
        """Compare each table with its documents, both ways."""
        for name in names:
            rows, documents = self.rows(name), self.documents(name)
            differences = {
                identity: (rows.get(identity), documents.get(identity))
                for identity in rows.keys() | documents.keys()
                if rows.get(identity) != documents.get(identity)
            }
            assert not differences, (
                f"{name}: {len(differences)} differ (row, document): {dict(list(differences.items())[:5])}"
            )

    def _is_settled(self) -> bool:
        status = self.daemon.status()
        return bool(status["pending"] == 0 and status["backlog"]["bytes"] == 0)

    def assert_nothing_set_aside(self) -> None:
        """Assert that every document could be shown, and every mutation read.

        Changes of tables that earlier tests have dropped do not count: a daemon with a new state meets them.
        """
        letters = self.daemon.metrics("dead_letters_total", "reason")
        assert not {reason: count for reason, count in letters.items() if count and reason != "mutation"}
        kinds = self.daemon.metrics("decode_errors_total", "kind")
        assert not {kind: count for kind, count in kinds.items() if count and kind != "UnknownTableError"}

    def _drop_keyspace(self) -> bool:
        try:
            self.execute("DROP KEYSPACE IF EXISTS {ks}")
        except NoHostAvailable:
            return False
        return True

    def drop(self) -> None:
        """Drop the keyspace and delete the indices."""
        wait_for("a Cassandra that is there again", self._drop_keyspace)
        if found := list(self.elastic.indices.get(index=f"{self.keyspace}-*", expand_wildcards="all")):
            self.elastic.indices.delete(index=found)


@contextmanager
def new_stage(box: Sandbox, cql: Session, elastic: Elasticsearch, directory: Path) -> Iterator[Stage]:
    """Give a stage for the time of a block; a daemon that still runs at its end is killed."""
    name = f"test_{secrets.token_hex(6)}"
    cql.execute(f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
    stage = Stage(box, cql, elastic, keyspace=name, directory=directory)
    try:
        yield stage
    finally:
        stage.daemon.kill()
        stage.drop()


def _without_own_fields(source: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in OWN_FIELDS}
