"""The part that connects to Cassandra, and measures whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from cassandra.cluster import Session

from cdc_daemon.app.part import Context, Part, run_together
from cdc_daemon.app.startup import check_log, connect_cassandra, identify_own_node, read_node_settings
from cdc_daemon.cassandra.addresses import AddressWatch
from cdc_daemon.cassandra.availability import CassandraAvailability, make_probe
from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.model.signal import TableName


class CassandraPart(Part):
    """The session with the cluster, and whether Cassandra answers reads.

    `node` has the settings of the daemon's node.
    """

    name = "cassandra"

    def __init__(self, context: Context, session: Session, node: NodeSettings) -> None:
        self.session = session
        self.node = node
        self.schema = SchemaSource(session, history=context.store.schema_history)
        self.availability = CassandraAvailability(self._probe)
        settings = context.settings.cassandra
        # By a secure connect bundle, the driver resolves the name of the proxy for each connection.
        by_bundle = settings.secure_connect_bundle is not None
        self._addresses = None if by_bundle else AddressWatch(session, settings, self.availability)
        self._read = make_probe(session, self.schema, ())
        self._metrics = context.metrics

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context) -> AsyncIterator[Self]:
        """Connect for a block, waiting until Cassandra is up. Raises `ConfigError`."""
        async with AsyncExitStack() as stack:
            session = await connect_cassandra(context.settings, report_wait=context.report_wait)
            stack.push_async_callback(asyncio.to_thread, session.cluster.shutdown)
            if context.settings.tail:
                await identify_own_node(session, context.settings, context.store)
            check_log(session, context.settings)
            yield cls(context, session, await read_node_settings(session, context.settings))

    @property
    def several_nodes(self) -> bool:
        """Whether the cluster has more nodes than this daemon's, so that there may be other daemons."""
        return len(self.session.cluster.metadata.all_hosts()) > 1

    def probe(self, tables: Sequence[TableName]) -> None:
        """Measure availability by reads of these tables, instead of the coordinator's own row."""
        self._read = make_probe(self.session, self.schema, tables)

    async def run(self) -> None:
        """Probe Cassandra while no other reads are answered, and find it again at new addresses."""
        loops = {"probes": self.availability.run}
        if self._addresses is not None:
            loops["addresses"] = self._addresses.run
        await run_together(**loops)

    def status(self) -> Mapping[str, Any]:
        """Return whether Cassandra answers, and how many nodes are up."""
        hosts = self.session.cluster.metadata.all_hosts()
        return {
            "cassandra": {
                "available": bool(self.availability),
                "failure": self.availability.failure,
                "nodes": len(hosts),
                "nodes_up": sum(host.is_up is not False for host in hosts),
            }
        }

    def measure(self) -> None:
        """Update the gauge of availability."""
        self._metrics.cassandra_available.set(bool(self.availability))

    async def _probe(self) -> None:
        await self._read()
