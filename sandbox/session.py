"""A cassandra-driver session on a sandbox's ring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

from sandbox.cassandra import DATACENTER


def protocol_of(version: str) -> int:
    """Return the version of the native protocol that a Cassandra of this version and the driver both know."""
    return 4 if version.startswith("3.") else 5


@contextmanager
def connect(
    contact_points: Sequence[str], port: int, keyspace: str | None = None, *, protocol: int = 5
) -> Iterator[Session]:
    """Give a session for the time of the block; the cluster object is shut down at the end.

    `protocol` is the version of the native protocol: 4 for Cassandra 3.11, 5 for later ones.
    """
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=DATACENTER)), request_timeout=30.0
    )
    cluster = Cluster(
        contact_points=list(contact_points),
        port=port,
        protocol_version=protocol,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=10.0,
        control_connection_timeout=10.0,
    )
    try:
        yield cluster.connect(keyspace)
    finally:
        cluster.shutdown()
