"""Which releases of Cassandra and of the search engine answer, for a bug report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cdc_daemon.cassandra.session import connected
from cdc_daemon.cli.init_tools.discovery import look_at_engine, look_at_node
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CdcError

_SECONDS: Final = 5.0
"""The timeout of a request. It is short because a person is waiting."""


def server_versions(settings: Settings) -> Iterator[str]:
    """Return a line for each server of the configuration. A server that does not answer is named too."""
    try:
        with connected(settings.cassandra.model_copy(update={"request_timeout": _SECONDS})) as session:
            yield look_at_node(session, settings.cassandra).title
    except CdcError as error:
        yield f"Cassandra: {error.message}"
    engine = look_at_engine(settings.elasticsearch.model_copy(update={"request_timeout": _SECONDS}))
    yield engine.title or f"search engine: {engine.error}"
