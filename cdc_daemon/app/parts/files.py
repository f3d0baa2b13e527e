"""Monitors resources that can fail without any action: certificates that expire, folders that fill up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from cdc_daemon.app.part import Part
from cdc_daemon.config import Settings
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

READ_SECONDS = 15.0
"""Seconds between two reads of the files, which a thread reads."""

_SAID_AGAIN = 3600.0


class FilesPart(Part):
    """Measures the current certificates, the store, its disk and cdc_raw, also after they are replaced.

    The tail measures cdc_raw more often, but only while it runs: a start may wait long for Elasticsearch, and
    Cassandra fills the folder. The limit is the configured one; the start sets it if only the node has it.
    """

    name = "files"

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Measure the files that these settings name."""
        self._certificates = list(_certificates(settings))
        self._state = settings.state.directory
        log_settings = settings.commit_log
        raw, active = log_settings.cdc_raw_directory, log_settings.commitlog_directory
        self._folder = CdcFolder(raw, commitlog=active) if settings.tail else None
        if settings.tail and settings.commit_log.cdc_total_space:
            self._metrics.cdc_raw_limit_bytes.set(settings.commit_log.cdc_total_space)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.to_thread(self.read_files)
            await asyncio.sleep(READ_SECONDS)

    def read_files(self) -> None:
        """Update the gauges from files. An unreadable file keeps its last value and is logged."""
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
    """Return the expiry of PEM certificates, in seconds since epoch: earliest of a chain, latest of authorities.

    Raises `ValueError` if there is no certificate.
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
