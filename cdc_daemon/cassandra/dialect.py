"""What the connected database can do: Apache Cassandra, and databases that speak CQL but lack parts of it.

The differences are those that the databases document. Tests use a model of their system tables, not a server:

- YugabyteDB 2025.2 (YCQL): docs.yugabyte.com/stable/explore/ycql-language/cassandra-feature-support, and the virtual
  tables of its master (`src/yb/master/yql_*_vtable.cc`) and functions (`src/yb/bfql/directory.cc`).
- Amazon Keyspaces: docs.aws.amazon.com/keyspaces/latest/devguide/working-with-keyspaces.html (system tables),
  cassandra-apis.html (statements), client-side-timestamps-how-to-queries.html (`WRITETIME`).
- DataStax Astra DB: docs.datastax.com/en/astra-db-classic/cql/reference/system-virtual-tables.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences of a database to Apache Cassandra.

    `has_commit_log` says whether the daemon can read its commit log. `versioned` says whether `schema_version` changes
    with the schema. `blob_functions` says whether keys can be selected as their bytes (`uuidAsBlob` and so on).
    `limits_partitions` says whether it knows `PER PARTITION LIMIT`. `lowest_token` says whether a key may have the
    lowest token, which Murmur3Partitioner never assigns. `write_times_by_table` says whether `WRITETIME` works only
    for tables with client-side timestamps. `lists_clusterings` says whether a query that selects a collection may ask
    for several clusterings (`IN`), `frozen_times` whether `WRITETIME` and `TTL` work for frozen collections.
    `lacks` are sentences for `cdc-daemon check`, one for each missing feature.
    """

    name: str
    has_commit_log: bool = False
    versioned: bool = True
    blob_functions: bool = True
    limits_partitions: bool = True
    lowest_token: bool = False
    write_times_by_table: bool = False
    lists_clusterings: bool = True
    frozen_times: bool = True
    lacks: tuple[str, ...] = ()


CASSANDRA = Dialect("Cassandra", has_commit_log=True)

BEFORE_4 = Dialect("Cassandra", has_commit_log=True, lists_clusterings=False, frozen_times=False)
"""Cassandra before 4.0 (`StatementRestrictions` and `Selectable.WritetimeOrTTL`, 3.11)."""

_NO_LOG = "no commit log that the daemon can read: its tables are polled (tail: off)"

YCQL = Dialect(
    "YugabyteDB (YCQL)",
    versioned=False,
    # Several are missing (decimal, varint, date, time, inet, ascii), so none is used.
    blob_functions=False,
    limits_partitions=False,
    # Its 65,536 hash codes are the upper 16 bits of a token, so the first code's token is the lowest number.
    lowest_token=True,
    lacks=(
        _NO_LOG,
        "no record of TRUNCATE: documents stay until a pass of `deletes`, or `cdc-daemon reconcile TYPE --repair`",
        "no system_views: the limit of cdc_raw and the node's other settings are unknown",
        "a constant schema_version: an altered table is noticed after half a minute",
        "no dropped_columns: not needed without a commit log",
    ),
)

KEYSPACES = Dialect(
    "Amazon Keyspaces",
    limits_partitions=False,
    write_times_by_table=True,
    lacks=(
        _NO_LOG,
        "no TRUNCATE, secondary indexes or system_views",
        "write times only for tables WITH custom_properties = {'client_side_timestamps': {'status': 'enabled'}}",
    ),
)

ASTRA = Dialect("Astra DB", lacks=(_NO_LOG, "no access to system_views: the nodes' settings are unknown"))

_YCQL_RELEASE = "3.9-SNAPSHOT"
_MARKS = {"system_schema_mcs": KEYSPACES, "datastax_sla": ASTRA}
"""Keyspaces that only one managed service has."""


def detect(release: str, keyspaces: Collection[str]) -> Dialect:
    """Return the dialect of a server by its release version and its keyspaces."""
    if release == _YCQL_RELEASE:
        return YCQL
    usual = BEFORE_4 if release.startswith(("2.", "3.")) else CASSANDRA
    return next((dialect for keyspace, dialect in _MARKS.items() if keyspace in keyspaces), usual)
