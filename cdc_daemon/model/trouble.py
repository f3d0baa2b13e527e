"""The cause of a key's delay, and the service responsible."""

from __future__ import annotations

from typing import NamedTuple

from cdc_daemon.model.errors import (
    CassandraRefusedError,
    CassandraUnavailableError,
    CdcError,
    ElasticsearchRefusedError,
    ElasticsearchUnavailableError,
)


class Trouble(NamedTuple):
    """Why a key is not settled yet: `service` is `cassandra`, `elasticsearch` or `daemon`.

    `alias` is set if the trouble concerns one alias and the service itself is available.
    """

    service: str
    reason: str
    alias: str | None = None

    @classmethod
    def of(cls, error: CdcError) -> Trouble:
        """Return the trouble that an error reports."""
        if isinstance(error, (CassandraUnavailableError, CassandraRefusedError)):
            return cls("cassandra", error.message)
        if isinstance(error, (ElasticsearchUnavailableError, ElasticsearchRefusedError)):
            return cls("elasticsearch", error.message)
        return cls("daemon", error.message)
