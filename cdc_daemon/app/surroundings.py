"""What the daemon stands on and can lose without anybody's doing: certificates that end, folders that fill."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from cdc_daemon.config import Settings
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

LOOK_SECONDS = 15.0
"""How often the files are looked at: a few of them, in a thread."""

_SAID_AGAIN = 3600.0


class Surroundings:
    """Measures certificates, the store, its disk and cdc_raw as they are now, whoever replaces or fills them.

    The tail measures cdc_raw more often, but only once it runs: a start may wait long for Elasticsearch, and Cassandra
    fills the folder meanwhile. Its limit is the configured one; the start sets it where only the node tells it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._certificates = list(_certificates(settings))
        self._state = settings.state.directory
        self._folder = CdcFolder(settings.commit_log.cdc_raw_directory) if settings.tail else None
        self._metrics = metrics
        if settings.tail and settings.commit_log.cdc_total_space:
            metrics.cdc_raw_limit_bytes.set(settings.commit_log.cdc_total_space)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.to_thread(self.measure)
            await asyncio.sleep(LOOK_SECONDS)

    def measure(self) -> None:
        """Bring the gauges up to date; it reads files. What cannot be read keeps its last value, and is told."""
        self._measure_certificates()
        self._measure_state()
        if self._folder is not None:
            self._measure_cdc_raw(self._folder)

    def _measure_certificates(self) -> None:
        for name, file, is_authority in self._certificates:
            try:
                ends = expiry(file.read_bytes(), is_authority=is_authority)
            except (OSError, ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
                log.warning(
                    "certificate.unreadable",
                    certificate=name,
                    file=str(file),
                    error=str(error),
                    every=_SAID_AGAIN,
                    every_key=name,
                )
            else:
                self._metrics.certificate_expiry_timestamp_seconds.labels(name).set(ends)

    def _measure_state(self) -> None:
        try:
            disk = os.statvfs(self._state)
            size = sum(_size(self._state / f"{FILE_NAME}{ending}") for ending in ("", "-wal", "-shm"))
        except OSError as error:
            log.warning(
                "state.unreadable", directory=str(self._state), error=error.strerror or str(error), every=_SAID_AGAIN
            )
        else:
            self._metrics.state_free_bytes.set(disk.f_bavail * disk.f_frsize)
            self._metrics.store_bytes.set(size)

    def _measure_cdc_raw(self, folder: CdcFolder) -> None:
        try:
            listing = folder.look()
        except OSError as error:
            log.warning(
                "cdc_raw.unreadable", folder=str(folder.path), error=error.strerror or str(error), every=_SAID_AGAIN
            )
        else:
            self._metrics.cdc_raw_segments.set(len(listing.segments))
            self._metrics.cdc_raw_bytes.set(listing.total_bytes)


def expiry(content: bytes, *, is_authority: bool) -> float:
    """Return when PEM certificates end, in seconds since epoch: a chain with its first, authorities with their last.

    Raises `ValueError` when there is no certificate.
    """
    ends = [each.not_valid_after_utc.timestamp() for each in x509.load_pem_x509_certificates(content)]
    return max(ends) if is_authority else min(ends)


def _certificates(settings: Settings) -> Iterator[tuple[str, Path, bool]]:
    http, cassandra = settings.http.tls, settings.cassandra.tls
    named = (
        ("http", None if http is None or not settings.http.listens else http.certificate_file, False),
        ("http_client_authority", None if http is None else http.client_ca_file, True),
        ("cassandra_client", cassandra.certificate_file if cassandra.enabled else None, False),
        ("cassandra_authority", cassandra.ca_file if cassandra.enabled else None, True),
        ("elasticsearch_authority", settings.elasticsearch.ca_file, True),
    )
    for name, file, is_authority in named:
        if file is not None:
            yield name, file, is_authority


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
