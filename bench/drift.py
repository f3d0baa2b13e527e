"""Drift of each kind planted among many rows: a reconcile must find exactly this drift, with constant memory."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, scan

from bench.tables import ALIAS, TABLE, fill, identity, make_table, write_config
from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.jobs import JobsClient
from sandbox import Sandbox
from sandbox.ports import PortReservation

PLANTED = 40
"""Differences planted of each way, at least; one row in a thousand where that is more."""

SMALL = 20_000
"""Rows at which the daemon's memory is noted for the first time."""

SETTLED = "value of field 1 and some more".ljust(36)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """What was planted, found, and left after a repair, by kind; the daemon's peak resident sizes in MiB by rows."""

    planted: Mapping[str, int]
    found: Mapping[str, int]
    left: Mapping[str, int]
    mistaken: Sequence[str]
    peaks: Mapping[int, float]

    @property
    def exact(self) -> bool:
        """Whether exactly the planted drift was found and repaired."""
        nothing = dict.fromkeys(self.planted, 0)
        return self.found == self.planted and self.left == nothing and not self.mistaken


def measure(*, rows: int, say: Say) -> DriftFigures:
    """Plant drift in the documents of a table of so many rows; find and repair it by a reconcile."""
    with closing(PortReservation()) as ports, Sandbox() as box, box.connect() as session:
        make_table(session)
        port, token = ports.reserve(), secrets.token_hex(32)
        config = write_config(box, port, token, tail=False)  # it would repair the rows that are changed here
        program = str(Path(sys.executable).with_name("cdc-daemon"))
        daemon = box.add("daemon", [program, "run", "--config", str(config)], output=config.with_name("daemon.log"))
        daemon.start()
        client = JobsClient(DaemonClient(f"http://127.0.0.1:{port}", token=token, patience=120))
        peaks = {}
        first = min(SMALL, rows)
        with Elasticsearch(box.elasticsearch.url, request_timeout=60) as elastic:
            for upto, begin in ((first, 0), (rows, first)):
                if begin == upto:
                    continue
                say(f"writing rows up to {upto:,}")
                fill(session, upto, begin=begin)
                _run(client, "backfill", say)
                _expect(_run(client, "reconcile", say), dict.fromkeys(_KINDS, 0))
                peaks[upto] = _peak(daemon.pid)
                say(f"{upto:,} rows: the daemon's peak is {peaks[upto]:.0f} MiB")
            planted = Planted(rows)
            planted.plant(session, elastic)
            say(f"planted {planted.counts}")
            job = _run(client, "reconcile", say)
            found = {kind: job[kind] for kind in _KINDS}
            mistaken = [
                f"{kind}: {each['id']}"
                for kind, examples in job["examples"].items()
                for each in examples
                if each["id"] not in planted.ids[kind]
            ]
            repaired = _run(client, "reconcile", say, repair=True)
            say(f"repaired {repaired['repaired']}, left {repaired['left']}")
            after = _run(client, "reconcile", say)
            mistaken += planted.spoilt(elastic)
            peaks[rows] = _peak(daemon.pid)
    return DriftFigures(planted.counts, found, {kind: after[kind] for kind in _KINDS}, mistaken, peaks)


_KINDS = ("missing", "different", "surplus")


class Planted:
    """Differences of each kind, spread over the table."""

    def __init__(self, rows: int) -> None:
        count = max(PLANTED, rows // 1000)
        step = rows // (5 * count)
        numbers = [range(way * step, rows, 5 * step)[:count] for way in range(5)]
        self._removed, self._stale, self._ahead, self._unseen, self._gone = (
            [identity(number) for number in each] for each in numbers
        )
        self._new = [identity(rows + number) for number in range(count)]
        self._ghosts = [f"ghost-{number}" for number in range(count)]
        self.ids = {
            "missing": {*self._removed, *self._new},
            "different": {*self._stale, *self._ahead, *self._unseen},
            "surplus": {*self._gone, *self._ghosts},
        }
        self.counts = {kind: len(ids) for kind, ids in self.ids.items()}

    def plant(self, session: Session, elastic: Elasticsearch) -> None:
        """Make rows and documents differ: missing, old and foreign documents; rows changed without a log."""
        elastic.indices.refresh(index=ALIAS)
        bulk(elastic, ({"_op_type": "delete", "_index": ALIAS, "_id": each} for each in self._removed))
        documents = {each: elastic.get(index=ALIAS, id=each) for each in (*self._stale, *self._ahead)}
        bulk(elastic, self._spoilt_documents(documents))
        for each in self._unseen:
            session.execute(f"UPDATE {TABLE} SET field1 = 'changed unseen' WHERE id = %s", [each])  # noqa: S608
        for each in self._gone:
            session.execute(f"DELETE FROM {TABLE} WHERE id = %s", [each])  # noqa: S608
        for each in self._new:
            session.execute(f"INSERT INTO {TABLE} (id, field1) VALUES (%s, 'new')", [each])  # noqa: S608

    def _spoilt_documents(self, documents: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        far = 3600 * 1_000_000
        for each in (*self._stale, *self._ahead):
            version = documents[each]["_version"] + (far if each in self._ahead else 0)
            yield _index(each, {**documents[each]["_source"], "field1": "spoilt"}, version)
        for each in self._ghosts:
            yield _index(each, {"id": each, "field1": "nobody's"}, 5)

    def spoilt(self, elastic: Elasticsearch) -> list[str]:
        """Return the documents that still differ from their rows, read independently of the daemon."""
        elastic.indices.refresh(index=ALIAS)
        changed = {**dict.fromkeys(self._unseen, "changed unseen"), **dict.fromkeys(self._new, "new")}
        found = {hit["_id"]: hit["_source"]["field1"] for hit in scan(elastic, index=ALIAS, source=["field1"])}
        wrong = [each for each, value in found.items() if value != changed.get(each, SETTLED)]
        return wrong + [each for each in (*self._removed, *self._new) if each not in found] + self._left(found)

    def _left(self, found: Iterable[str]) -> list[str]:
        return sorted(self.ids["surplus"].intersection(found))


def _index(identity: str, source: Mapping[str, Any], version: int) -> dict[str, Any]:
    return {
        "_op_type": "index",
        "_index": ALIAS,
        "_id": identity,
        "version": version,
        "version_type": "external_gte",
        "_source": source,
    }


def _run(client: JobsClient, kind: str, say: Say, **wanted: Any) -> dict[str, Any]:
    *_, job = client.follow(client.start(kind, {"types": ["person"], **wanted})["job"])
    assert job["state"] == "done", job
    say(f"{kind}: {job['rows']:,} rows in {job['finished'] - job['started']:.1f} s")
    found: dict[str, Any] = job["report"].get("types", {}).get("person", {})
    return found


def _expect(found: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    assert {kind: found[kind] for kind in expected} == expected, found


def _peak(pid: int) -> float:
    """Return the largest resident size that a process has had, in MiB (`/proc/PID/status`, VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"no VmHWM of process {pid}")
