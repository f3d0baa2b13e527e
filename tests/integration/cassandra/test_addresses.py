"""A Cassandra whose name gets a new address, as that of a Service does when its pod is made anew, is found again."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from cassandra.cluster import NoHostAvailable, Session
from structlog.testing import capture_logs

from cdc_daemon.cassandra.addresses import AddressWatch
from cdc_daemon.cassandra.availability import CassandraAvailability, make_probe
from cdc_daemon.cassandra.query import execute, prepare
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from sandbox import Sandbox
from tests.browser.relay import Relay
from tests.integration.daemon.harness import PATIENCE, wait_for

_NAME = "cassandra.test"
_QUERY = "SELECT release_version FROM system.local WHERE key = ?"


class Names:
    """Resolves one name to the addresses that a test sets, and all others as usual."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._usual = socket.getaddrinfo

    def resolve(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != _NAME:
            return self._usual(host, port, *arguments, **options)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [each for address in self.addresses for each in self._usual(address, port, *arguments, **options)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.resolve)
    return found


async def _read(session: Session, statement: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await execute(session, statement)
            except Exception:  # noqa: BLE001 -- whatever it raises while no node is known
                await asyncio.sleep(0.1)
            else:
                return


def _known(session: Session) -> list[str]:
    return [host.address for host in session.cluster.metadata.all_hosts()]


async def test_a_new_address_of_a_name_is_found_without_a_restart(box: Sandbox, names: Names) -> None:
    place = ("127.0.0.1", box.cassandra.port)
    with Relay(*place, address="127.0.0.81") as old, Relay(*place, address="127.0.0.82") as new:
        new.shut()
        new.port = old.port
        names.addresses = [old.address]
        options = CassandraSettings(contact_points=(_NAME,), port=old.port, request_timeout=2)
        session = await asyncio.to_thread(connect, options)
        try:
            statement = (await prepare(session, _QUERY)).bind(("local",))
            await execute(session, statement)
            available = CassandraAvailability(make_probe(session, SchemaSource(session), ()))
            watch = AddressWatch(session, options, available, patience=0.2)
            with capture_logs() as logged:
                running = [asyncio.create_task(available.run()), asyncio.create_task(watch.run())]
                old.shut()
                names.addresses = []  # a headless Service has no address while its pod is made anew
                await available.wait_lost()
                await asyncio.sleep(1)
                new.open()
                names.addresses = [new.address]
                await _read(session, statement)
                assert not any(task.done() for task in running)
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
            assert [line["addresses"] for line in logged if line["event"] == "cassandra.new_addresses"] == [
                [new.address]
            ]
            assert not [line for line in logged if line["log_level"] == "error"]
            # The previous address is forgotten as soon as the ring was read at the new one.
            await asyncio.to_thread(wait_for, "the new node alone", lambda: _known(session) == [new.address])
            await execute(session, statement)
        finally:
            session.cluster.shutdown()


def test_without_the_watch_the_driver_keeps_the_old_address(box: Sandbox, names: Names) -> None:
    """What the watch is for; if a later driver resolves names itself, the watch can go."""
    place = ("127.0.0.1", box.cassandra.port)
    with Relay(*place, address="127.0.0.81") as old, Relay(*place, address="127.0.0.82") as new:
        new.shut()
        new.port = old.port
        names.addresses = [old.address]
        session = connect(CassandraSettings(contact_points=(_NAME,), port=old.port, request_timeout=2))
        try:
            old.shut()
            new.open()
            names.addresses = [new.address]
            for _ in range(3):
                with pytest.raises(NoHostAvailable):
                    session.execute("SELECT key FROM system.local")
        finally:
            session.cluster.shutdown()
