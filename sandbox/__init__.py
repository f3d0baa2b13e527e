"""Real Cassandra, Elasticsearch and OpenSearch on this machine, from Maven Central: for the demo, tests and benchmarks.

    with Sandbox(cassandra="5.0", yaml={"commitlog_sync_period": "100ms"}) as box, box.connect() as session:
        session.execute("SELECT release_version FROM system.local")
        box.elasticsearch.kill()

For people there is `python -m sandbox up`, `status` and `down`.
"""

from __future__ import annotations

from sandbox.cassandra import CassandraNode
from sandbox.errors import SandboxError
from sandbox.java import FAST_START, STEADY
from sandbox.sandbox import Sandbox
from sandbox.search import SearchNode

__all__ = ["FAST_START", "STEADY", "CassandraNode", "Sandbox", "SandboxError", "SearchNode"]
