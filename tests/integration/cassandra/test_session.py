from __future__ import annotations

import asyncio
import time

import pytest
from cassandra.cluster import NoHostAvailable, Session
from pydantic import SecretStr

from cdc_daemon.app.startup import persist
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from cdc_daemon.model.errors import CassandraUnavailableError
from sandbox import Sandbox


def _options(box: Sandbox, role: str, password: str) -> CassandraSettings:
    return CassandraSettings(
        contact_points=tuple(box.contact_points),
        port=box.cassandra.port,
        username=role,
        password=SecretStr(password),
        request_timeout=2,
    )


def _connect_at_last(options: CassandraSettings) -> Session:
    """Connect as soon as the node knows its first role, which it makes after it begins to answer."""

    async def attempt() -> Session:
        return await asyncio.to_thread(connect, options)

    return asyncio.run(persist("cassandra", attempt))


def _wait_until_it_answers(session: Session, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            session.execute("SELECT release_version FROM system.local")
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def test_a_login_refused_for_a_while_does_not_end_reconnection() -> None:
    """A node that cannot read its roles (their replicas are down) refuses right passwords too."""
    with Sandbox(elasticsearch=False, yaml={"authenticator": "PasswordAuthenticator"}) as box:
        administrator = _connect_at_last(_options(box, "cassandra", "cassandra"))
        session = None
        try:
            administrator.execute("CREATE ROLE daemon WITH PASSWORD = 'right' AND LOGIN = true")
            session = connect(_options(box, "daemon", "right"))
            administrator.execute("ALTER ROLE daemon WITH PASSWORD = 'other'")
            box.cassandra.stop()
            box.cassandra.start()
            box.cassandra.wait_ready()
            _wait_until_it_answers(administrator, 60)
            with pytest.raises(CassandraUnavailableError, match="Bad credentials"):
                connect(_options(box, "daemon", "right"))
            with pytest.raises(NoHostAvailable):
                _wait_until_it_answers(session, 5)  # several attempts are refused meanwhile
            administrator.execute("ALTER ROLE daemon WITH PASSWORD = 'right'")
            _wait_until_it_answers(session, 60)
        finally:
            administrator.cluster.shutdown()
            if session is not None:
                session.cluster.shutdown()
