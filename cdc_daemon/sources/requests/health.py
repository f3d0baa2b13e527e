"""The pipeline's view of the servers, for callers that must not wait for an unavailable one."""

from __future__ import annotations

from collections.abc import Collection

from cdc_daemon.cassandra.availability import CassandraAvailability
from cdc_daemon.model.key import Key
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.swap_writer import PairWriter


class ServerHealth:
    """Combines whether Cassandra answers, whether the writer can write, and what workers wait for."""

    def __init__(self, cassandra: CassandraAvailability, writer: PairWriter, waits: Waits, troubled: Troubled) -> None:
        self._cassandra = cassandra
        self._writer = writer
        self._waits = waits
        self._troubled = troubled

    def trouble(self, alias: str) -> Trouble | None:
        """Return why no row can be read or an alias cannot be written; None while no problem is known."""
        if self._cassandra.failure is not None:
            return Trouble("cassandra", self._cassandra.failure)
        if self._writer.available:
            return self._troubled.of(alias)
        failure = self._writer.failure
        return Trouble("elasticsearch", "it is away" if failure is None else f"{failure.error_type}: {failure.reason}")

    async def wait_unreadable(self) -> str:
        """Wait until Cassandra is unavailable, that is, has not answered for seconds; return the reason."""
        return await self._cassandra.wait_lost()

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Return which server delays workers, by `at_least` seconds or by a failure; check `keys` first."""
        return self._waits.trouble(at_least, keys)
