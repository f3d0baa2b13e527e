"""The reference of `drain`: a bare script that reads the same rows by multi-key queries and writes them in bulk.

It knows which keys were changed, keeps no versions apart, checks nothing and remembers nothing.
`python -m bench.bare PORT URL INDEX ROWS` prints its wall and processor seconds, without its start, as JSON.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import orjson
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.query import tuple_factory

from bench import workload

_KEYS_PER_QUERY = 100
_PER_BULK = 1000
_CONNECTIONS = 4
_QUERIES_AT_ONCE = 16

_own = threading.local()


def main() -> None:
    """Copy the rows, and print what it took."""
    port, url, index, rows = sys.argv[1:]
    profile = ExecutionProfile(row_factory=tuple_factory, request_timeout=60)
    cluster = Cluster(
        ["127.0.0.1"], port=int(port), protocol_version=5, execution_profiles={EXEC_PROFILE_DEFAULT: profile}
    )
    session = cluster.connect()
    read = session.prepare(workload.READ)
    wall, cpu = time.perf_counter(), time.process_time()
    copied = copy(session, read, url, index, int(rows))
    print(json.dumps({"rows": copied, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
    cluster.shutdown()


def copy(session: Any, read: Any, url: str, index: str, rows: int) -> int:
    """Read the rows and write their documents; return how many documents were written."""
    starts = range(0, rows, _KEYS_PER_QUERY)
    asked = [[workload.identity(at) for at in range(start, min(start + _KEYS_PER_QUERY, rows))] for start in starts]
    flying = [session.execute_async(read, (keys,)) for keys in asked[:_QUERIES_AT_ONCE]]
    sent: list[Future[int]] = []
    lines: list[bytes] = []
    version = time.time_ns() // 1000
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for at in range(len(asked)):
            found = flying[at].result()
            flying[at] = None
            if len(flying) < len(asked):
                flying.append(session.execute_async(read, (asked[len(flying)],)))
            lines.extend(_line(index, version, row) for row in found)
            if len(lines) >= _PER_BULK:
                sent.append(pool.submit(_bulk, url, lines))
                lines = []
        if lines:
            sent.append(pool.submit(_bulk, url, lines))
        return sum(each.result() for each in sent)


def _line(index: str, version: int, row: Any) -> bytes:
    document = dict(zip(workload.COLUMNS, row, strict=False))
    document["createddate"] = document["createddate"].isoformat()
    document["roles"] = list(document["roles"])
    document["framework"] = dict(document["framework"])
    newest = max(moment for moment in row[len(workload.COLUMNS) :] if moment is not None)
    assert newest > 0
    return b'{"index":{"_index":"%b","_id":"%b","version":%d,"version_type":"external_gte"}}\n%b\n' % (
        index.encode(),
        row[0].encode(),
        version,
        orjson.dumps(document),
    )


def _bulk(url: str, lines: list[bytes]) -> int:
    if not hasattr(_own, "connection"):
        address = urlsplit(url)
        _own.connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    headers = {"content-type": "application/x-ndjson"}
    _own.connection.request("POST", "/_bulk?filter_path=errors", b"".join(lines), headers)
    answer = json.loads(_own.connection.getresponse().read())
    assert answer == {"errors": False}, answer
    return len(lines)


if __name__ == "__main__":
    main()
