"""What delays a key, and whose fault it is."""

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

    `alias` is named where the trouble is that of one alias, and the service is well.
    """

    service: str
    reason: str
    alias: str | None = None

    @classmethod
    def of(cls, error: CdcError) -> Trouble:
        """Return what an error tells of whose trouble it is."""
        if isinstance(error, (CassandraUnavailableError, CassandraRefusedError)):
            return cls("cassandra", error.message)
        if isinstance(error, (ElasticsearchUnavailableError, ElasticsearchRefusedError)):
            return cls("elasticsearch", error.message)
        return cls("daemon", error.message)
