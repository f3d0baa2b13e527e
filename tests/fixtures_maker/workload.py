"""One of everything that a client can write, in a few hundred small mutations of keyspace `probe`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from ipaddress import ip_address
from uuid import UUID, uuid1

from cassandra.cluster import Session

KEYSPACE = "probe"
T = 1_795_461_440_000_000
"""Write time for statements that state one, microseconds since the epoch."""

_SCHEMA = """
CREATE KEYSPACE probe WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};
CREATE TYPE probe.inner (x int, "Y" frozen<list<text>>);
CREATE TYPE probe.address (street text, zip int, tags frozen<set<text>>, nested frozen<inner>);
CREATE TABLE probe.everything (
  k1 text, k2 int, c1 timeuuid, c2 text, c3 blob, s text static, sm map<text, int> static, sc frozen<address> static,
  a ascii, b bigint, bl blob, bo boolean, d date, db double, de decimal, du duration, f float, i inet, n int,
  si smallint, t text, ti time, ts timestamp, tu frozen<tuple<int, text, frozen<list<int>>>>, tid timeuuid,
  ty tinyint, u uuid, v varint, fl frozen<list<text>>, fm frozen<map<text, frozen<list<int>>>>,
  fs frozen<set<inet>>, fad frozen<address>, ad address, l list<int>, la list<frozen<address>>,
  m map<text, bigint>, mm map<int, frozen<map<text, frozen<set<int>>>>>, se set<text>,
  PRIMARY KEY ((k1, k2), c1, c2, c3)) WITH cdc = true AND CLUSTERING ORDER BY (c1 DESC, c2 ASC, c3 DESC);
CREATE TABLE probe.wide (p int, c int, d int, v text, w blob, PRIMARY KEY (p, c, d)) WITH cdc = true;
CREATE TABLE probe.reversed (p int, c int, d text, v text, PRIMARY KEY (p, c, d))
  WITH cdc = true AND CLUSTERING ORDER BY (c DESC, d DESC);
CREATE TABLE probe.plain (id uuid PRIMARY KEY, v text, n int, gone text, goneset set<int>, gonestatic int)
  WITH cdc = true;
CREATE TABLE probe."Quoted" ("Id" text PRIMARY KEY, "The Value" text) WITH cdc = true;
CREATE TABLE probe.statics (p int, c int, s1 int static, s2 set<int> static, v int, PRIMARY KEY (p, c)) WITH cdc = true;
CREATE TABLE probe.counts (id text PRIMARY KEY, n counter, o counter);
CREATE TABLE probe.countrows (p text, c int, s counter static, n counter, PRIMARY KEY (p, c));
CREATE TABLE probe.quiet (id text PRIMARY KEY, v text);
CREATE TABLE probe.dense (p int, c text, v int, PRIMARY KEY (p, c)) WITH COMPACT STORAGE;
CREATE TABLE probe.bare (p int, c text, PRIMARY KEY (p, c)) WITH COMPACT STORAGE;
CREATE TABLE probe.compact (id int PRIMARY KEY, v text, w int) WITH COMPACT STORAGE;
CREATE TABLE probe.gone (id int PRIMARY KEY, v text) WITH cdc = true
"""


@dataclass(frozen=True)
class Workload:
    """What is run against one server. `version` is Cassandra's; `far` allows expiries after 2038."""

    version: str
    far: bool = False

    @property
    def vectors(self) -> bool:
        """Whether the server knows vectors."""
        return self.version >= "5"

    def run(self, session: Session) -> None:
        """Make the schema, then write."""
        for statement in self.schema():
            session.execute(statement)
        for statement in self.statements():
            session.execute(statement)
        prepared = session.prepare(f"INSERT INTO {KEYSPACE}.many (id, c00, c89) VALUES (?, ?, ?)")
        session.execute(prepared, (3, 1, 2))
        # Values left unset are not written, where a null would be a tombstone.
        some = session.prepare(f"INSERT INTO {KEYSPACE}.plain (id, v, n) VALUES (?, ?, ?)")
        session.execute(some, {"id": UUID(int=77), "v": "only"})
        session.execute(f"DROP TABLE {KEYSPACE}.gone")

    def schema(self) -> Iterator[str]:
        """Yield the statements that make the keyspace."""
        yield from (each.strip() for each in _SCHEMA.split(";"))
        columns = ", ".join(f"c{number:02} int" for number in range(90))
        yield f"CREATE TABLE probe.many (id bigint PRIMARY KEY, {columns}) WITH cdc = true"
        keys = ", ".join(f"c{number:02}" for number in range(35))
        types = ", ".join(f"c{number:02} {'text' if number % 3 else 'int'}" for number in range(35))
        yield f"CREATE TABLE probe.deep (p int, {types}, v text, PRIMARY KEY (p, {keys})) WITH cdc = true"
        if self.vectors:
            yield (
                "CREATE TABLE probe.vectors (id int, c vector<int, 2>, f vector<float, 3>, t vector<text, 2>,"
                " l vector<frozen<list<int>>, 2>, v vector<vector<float, 2>, 2>, PRIMARY KEY (id, c)) WITH cdc = true"
            )

    def statements(self) -> Iterator[str]:
        """Yield the writes."""
        yield from _everything()
        yield from _ranges()
        yield from _statics()
        yield from _batches()
        yield from _counters()
        yield from _columns()
        yield from _times(far=self.far)
        yield from _compact()
        if self.vectors:
            yield from _vectors()
        yield from _changes()


def _everything() -> Iterator[str]:
    source = random.Random(7)
    names = (
        "k1, k2, c1, c2, c3, s, sm, sc, a, b, bl, bo, d, db, de, du, f, i, n, si, t, ti, ts, tu, tid, ty, u, v, "
        "fl, fm, fs, fad, ad, l, la, m, mm, se"
    )
    for number in range(6):
        nested = f"{{x: {number}, \"Y\": ['a', 'b{number}']}}"
        address = f"{{street: 'Main {number}', zip: {number}, tags: {{'x', 'y'}}, nested: {nested}}}"
        values = [
            f"'key{number}'", str(number - 3), str(uuid1(node=number + 1, clock_seq=7)), f"'ç{number}'",
            "0x" + "ab" * number, f"'static {number}'", f"{{'s': {number}, 't': -1}}", address,
            f"'ascii{number}'", str(source.randrange(-(1 << 63), 1 << 63)), "0x" + source.randbytes(number * 30).hex(),
            str(number % 2 == 0).lower(), f"'{date(1970 + number, 1, 1)}'", str(source.random() * 10**9),
            f"{Decimal(source.randrange(10**9)) / 1000}", f"{number}mo{number}d{number}ns", str(number * 1.5),
            f"'{ip_address(number * 7 if number % 2 else number << 96)}'", str(source.randrange(-(1 << 31), 1 << 31)),
            str(number - 2), f"'té {number}'", f"'{number:02}:00:00.5'", f"'2026-01-0{1 + number} 00:00:00.125'",
            f"({number}, 'tu', [1, {number}])", str(uuid1(node=9, clock_seq=number)), str(number - 128),
            str(UUID(int=source.getrandbits(128))), str(source.randrange(-(1 << 90), 1 << 90)),
            f"['a', '{number}']", f"{{'k': [1, 2, {number}]}}", "{'10.0.0.1', '::1'}", address, address,
            f"[{number}, 2, 3]", f"[{address}, {address}]", f"{{'a': 1, 'b': {number}}}",
            f"{{{number}: {{'i': {{1, 2}}}}}}", f"{{'a', 'b{number}'}}",
        ]  # fmt: skip
        yield f"INSERT INTO probe.everything ({names}) VALUES ({', '.join(values)})"
    row = "k1 = 'key0' AND k2 = -3 AND c1 = 50554d6e-29bb-11e5-b345-feff819cdc9f AND c2 = 'c' AND c3 = 0x01"
    table = "probe.everything"
    yield f"UPDATE {table} SET l = l + [7, 8], m['z'] = 5, se = se + {{'p', 'q'}} WHERE {row}"
    yield f"UPDATE {table} SET l = [0] + l, m = m - {{'a'}}, se = se - {{'a'}}, ad.zip = 5 WHERE {row}"
    # One complex column is overwritten, another only added to: the latter's deletion is written as none.
    yield f"UPDATE {table} SET l = [1, 2], m['y'] = 6, se = {{}} WHERE {row}"
    yield f"UPDATE {table} SET mm[5] = {{'k': {{1}}}}, la = la + [{{street: 's'}}] WHERE {row}"
    yield f"UPDATE {table} USING TTL 3600 SET t = 'ttl', m['ttl'] = 9, ad.street = 'x' WHERE {row}"
    yield f"UPDATE {table} SET t = null, n = null, ad.zip = null, m['b'] = null WHERE {row}"
    yield f"DELETE a, b, l, m['a'], ad, fad FROM {table} WHERE {row}"
    yield f"INSERT INTO {table} (k1, k2, c1, c2, c3) VALUES ('only', 1, now(), '', 0x) USING TTL 86400"
    yield (f"INSERT INTO {table} (k1, k2, c1, c2, c3, bl, t, fl, n) VALUES ('e', 0, now(), 'x', 0x, 0x, '', [], null)")
    yield f"UPDATE {table} USING TIMESTAMP {T} AND TTL 100 SET s = 'x', sm['q'] = 1 WHERE k1 = 'key1' AND k2 = -2"
    yield f"DELETE FROM {table} WHERE {row}"
    yield f"DELETE s, sm FROM {table} WHERE k1 = 'key1' AND k2 = -2"
    yield f"DELETE FROM {table} WHERE k1 = 'key1' AND k2 = -2"
    yield f"DELETE FROM {table} USING TIMESTAMP {T} WHERE k1 = 'key2' AND k2 = -1"
    lwt = f"k1 = 'lwt' AND k2 = 0 AND c1 = {UUID(int=1 << 76)} AND c2 = 'c' AND c3 = 0x"
    yield f"UPDATE {table} SET t = 'x' WHERE {lwt} IF t = null"
    yield f"UPDATE {table} SET t = 'y' WHERE {lwt} IF t = 'x'"


def _ranges() -> Iterator[str]:
    for number in range(12):
        yield (
            "INSERT INTO probe.wide (p, c, d, v, w)"
            f" VALUES ({number % 2}, {number}, {-number}, 'v{number}', 0x{'77' * number * 25})"
        )
    for table in ("wide", "reversed"):
        first, second = ("0", "1") if table == "wide" else ("'0'", "'1'")
        for condition in (
            "c = 3", "c >= 5 AND c < 7", "c > 5", "c <= 7", f"c = 8 AND d > {first}", f"c = 8 AND d <= {second}",
            f"(c, d) > (9, {first}) AND (c, d) <= (10, {second})", f"(c, d) >= (9, {first})", "c IN (1, 2)",
            f"c = 3 AND d = {first}",
        ):  # fmt: skip
            yield f"DELETE FROM probe.{table} WHERE p = 1 AND {condition}"
        # Adjacent ranges make boundaries; a row between or under them is written with them.
        yield (
            f"""BEGIN UNLOGGED BATCH
            DELETE FROM probe.{table} USING TIMESTAMP {T} WHERE p = 5 AND c >= 1 AND c < 5;
            DELETE FROM probe.{table} USING TIMESTAMP {T + 1} WHERE p = 5 AND c >= 5 AND c <= 9;
            DELETE FROM probe.{table} USING TIMESTAMP {T + 2} WHERE p = 5 AND c > 9;
            INSERT INTO probe.{table} (p, c, d, v) VALUES (5, 3, {first}, 'between') USING TIMESTAMP {T + 9};
            INSERT INTO probe.{table} (p, c, d, v) VALUES (5, 0, {first}, 'before') USING TIMESTAMP {T + 9};
            INSERT INTO probe.{table} (p, c, d, v) VALUES (5, 3, {second}, 'shadowed') USING TIMESTAMP {T - 9};
            APPLY BATCH"""
        )
        yield (
            f"""BEGIN UNLOGGED BATCH
            INSERT INTO probe.{table} (p, c, d, v) VALUES (6, 3, {first}, 'the only row');
            DELETE FROM probe.{table} WHERE p = 6 AND c > 4 AND c < 7;
            APPLY BATCH"""
        )
        yield (
            f"""BEGIN UNLOGGED BATCH
            DELETE FROM probe.{table} USING TIMESTAMP {T} WHERE p = 7;
            INSERT INTO probe.{table} (p, c, d, v) VALUES (7, 3, {first}, 'after') USING TIMESTAMP {T + 1};
            DELETE FROM probe.{table} USING TIMESTAMP {T + 2} WHERE p = 7 AND c = 3 AND d = {second};
            APPLY BATCH"""
        )


def _statics() -> Iterator[str]:
    yield "INSERT INTO probe.statics (p, s1) VALUES (1, 5)"
    yield "UPDATE probe.statics SET s2 = s2 + {1, 2} WHERE p = 1"
    yield "INSERT INTO probe.statics (p, c, s1, s2, v) VALUES (1, 2, 6, {3}, 7)"
    yield "INSERT INTO probe.statics (p, c, v) VALUES (1, 3, 8) USING TTL 500"
    yield "UPDATE probe.statics USING TTL 600 SET s1 = 9 WHERE p = 1"
    yield "DELETE s1, s2 FROM probe.statics WHERE p = 1"
    yield "DELETE FROM probe.statics WHERE p = 1 AND c = 2"
    yield "UPDATE probe.statics SET s1 = 1 WHERE p = 2 IF s1 = null"


def _batches() -> Iterator[str]:
    same = UUID(int=5)
    for kind in ("", "UNLOGGED "):
        yield (
            f"""BEGIN {kind}BATCH
            INSERT INTO probe.wide (p, c, d, v) VALUES (9, 1, 1, 'batch');
            INSERT INTO probe.reversed (p, c, d, v) VALUES (9, 1, 'd', 'batch');
            INSERT INTO probe.statics (p, c, s1, v) VALUES (9, 1, 2, 3);
            DELETE FROM probe.wide WHERE p = 9 AND c = 2;
            INSERT INTO probe.plain (id, v) VALUES ({same}, 'another key');
            APPLY BATCH"""
        )
    rows = ";".join(f"INSERT INTO probe.wide (p, c, d, v) VALUES (10, {number}, 0, 'v')" for number in range(40))
    yield f"BEGIN UNLOGGED BATCH {rows}; APPLY BATCH"
    yield 'INSERT INTO probe."Quoted" ("Id", "The Value") VALUES (\'same\', \'x\')'
    yield (
        'BEGIN UNLOGGED BATCH INSERT INTO probe."Quoted" ("Id", "The Value") VALUES (\'same\', \'y\');'
        " INSERT INTO probe.quiet (id, v) VALUES ('same', 'not captured'); APPLY BATCH"
    )
    yield "INSERT INTO probe.quiet (id, v) VALUES ('alone', 'x')"
    for number in range(3):
        yield f"INSERT INTO probe.gone (id, v) VALUES ({number}, 'of a table that is dropped')"


def _counters() -> Iterator[str]:
    for step in ("+ 1", "+ 41", "- 7"):
        yield f"UPDATE probe.counts SET n = n {step} WHERE id = 'c'"
    yield "UPDATE probe.counts SET n = n + 1, o = o + 2 WHERE id = 'd'"
    yield "UPDATE probe.countrows SET n = n + 1 WHERE p = 'p' AND c = 1"
    yield "UPDATE probe.countrows SET s = s + 1 WHERE p = 'p'"
    yield (
        "BEGIN COUNTER BATCH UPDATE probe.countrows SET n = n + 1 WHERE p = 'p' AND c = 1;"
        " UPDATE probe.countrows SET n = n - 1 WHERE p = 'p' AND c = 2; APPLY BATCH"
    )
    yield "DELETE n FROM probe.countrows WHERE p = 'p' AND c = 2"
    yield "DELETE FROM probe.counts WHERE id = 'd'"


def _columns() -> Iterator[str]:
    for present in (range(90), range(1), range(89, 90), range(0, 90, 9), range(44), range(45), range(46), range(1, 90)):
        names = ", ".join(f"c{number:02}" for number in present)
        values = ", ".join(str(number) for number in present)
        yield f"INSERT INTO probe.many (id, {names}) VALUES (1, {values})"
    yield (
        "BEGIN UNLOGGED BATCH UPDATE probe.many USING TIMESTAMP 5 SET c00 = 1, c89 = null WHERE id = 2;"
        " UPDATE probe.many USING TIMESTAMP 6 SET c45 = 1 WHERE id = 2; APPLY BATCH"
    )
    # Subsets of a header's columns need several rows in one update.
    many = [f"INSERT INTO probe.wide (p, c, d, v) VALUES (11, {number}, 0, 'v')" for number in range(3)]
    many += [f"UPDATE probe.wide SET w = 0x0{number} WHERE p = 11 AND c = {number} AND d = 1" for number in range(3)]
    yield f"BEGIN UNLOGGED BATCH {'; '.join(many)}; APPLY BATCH"
    keys = ", ".join(f"c{number:02}" for number in range(35))
    values = ", ".join(f"'{number}'" if number % 3 else str(number) for number in range(35))
    yield f"INSERT INTO probe.deep (p, {keys}, v) VALUES (1, {values}, 'deep')"
    empty = values.replace("'34'", "''")
    yield f"INSERT INTO probe.deep (p, {keys}, v) VALUES (1, {empty}, 'x')"
    yield "DELETE FROM probe.deep WHERE p = 1 AND c00 = 0 AND c01 = '1' AND c02 >= '2'"
    prefix = " AND ".join(f"c{number:02} = {value}" for number, value in enumerate(values.split(", ")[:33]))
    yield f"DELETE FROM probe.deep WHERE p = 1 AND {prefix}"


def _times(*, far: bool) -> Iterator[str]:
    for number, timestamp in enumerate((0, 1, -1, 1_442_880_000_000_000, 1_442_879_999_999_999, T, (1 << 62))):
        yield f"INSERT INTO probe.quiet (id, v) VALUES ('time{number}', 'x') USING TIMESTAMP {timestamp}"
        yield f"DELETE FROM probe.quiet USING TIMESTAMP {timestamp} WHERE id = 'time{number}'"
    yield (
        f"""BEGIN UNLOGGED BATCH
        INSERT INTO probe.wide (p, c, d, v) VALUES (12, 1, 1, 'x') USING TIMESTAMP {T} AND TTL 77;
        UPDATE probe.wide USING TIMESTAMP {T - 5} SET w = 0xff WHERE p = 12 AND c = 1 AND d = 1;
        UPDATE probe.wide USING TIMESTAMP {T + 5} AND TTL 99 SET v = 'y' WHERE p = 12 AND c = 2 AND d = 1;
        APPLY BATCH"""
    )
    if far:
        for years in (15, 20):
            yield f"INSERT INTO probe.quiet (id, v) VALUES ('far{years}', 'x') USING TTL {years * 365 * 86400}"
            yield f"UPDATE probe.quiet USING TTL {years * 365 * 86400} SET v = 'y' WHERE id = 'far{years}'"


def _compact() -> Iterator[str]:
    yield "INSERT INTO probe.dense (p, c, v) VALUES (1, 'c', 2)"
    yield "DELETE FROM probe.dense WHERE p = 1 AND c = 'c'"
    yield "INSERT INTO probe.bare (p, c) VALUES (1, 'c')"
    yield "DELETE FROM probe.bare WHERE p = 1"
    yield "INSERT INTO probe.compact (id, v, w) VALUES (1, 'v', 2)"
    yield "DELETE v FROM probe.compact WHERE id = 1"


def _vectors() -> Iterator[str]:
    yield (
        "INSERT INTO probe.vectors (id, c, f, t, l, v) VALUES"
        " (1, [1, 2], [0.5, 1, 2], ['a', ''], [[1], []], [[1, 2], [3, 4]])"
    )
    yield "UPDATE probe.vectors SET f = null, t = ['x', 'y'] WHERE id = 1 AND c = [-1, 2]"
    yield "DELETE FROM probe.vectors WHERE id = 1 AND c = [1, 2]"


def _changes() -> Iterator[str]:
    """ALTER TABLE: columns come and go, and one comes back."""
    for number in range(4):
        yield (
            "INSERT INTO probe.plain (id, v, n, gone, goneset, gonestatic)"
            f" VALUES ({UUID(int=100 + number)}, 'v', 1, 'g', {{1, 2}}, 3)"
        )
    yield f"UPDATE probe.plain SET gone = 'alone' WHERE id = {UUID(int=100)}"
    yield f"UPDATE probe.plain SET goneset = goneset + {{5}} WHERE id = {UUID(int=100)}"
    yield f"DELETE goneset FROM probe.plain WHERE id = {UUID(int=100)}"
    for name in ("gone", "goneset", "gonestatic"):
        yield f"ALTER TABLE probe.plain DROP {name}"
    yield f"INSERT INTO probe.plain (id, v, n) VALUES ({UUID(int=101)}, 'without', 1)"
    yield "ALTER TABLE probe.plain ADD gone text"
    yield "ALTER TABLE probe.plain ADD added map<int, text>"
    yield f"INSERT INTO probe.plain (id, v, gone, added) VALUES ({UUID(int=102)}, 'with', 'back', {{1: 'x'}})"
    yield "ALTER TYPE probe.address ADD later text"
    yield (
        "UPDATE probe.everything SET ad = {street: 'x', later: 'y'}, fad = {later: 'z'}"
        " WHERE k1 = 'key3' AND k2 = 0 AND c1 = 50554d6e-29bb-11e5-b345-feff819cdc9f AND c2 = 'c' AND c3 = 0x01"
    )
