"""The preflight: is everything outside the daemon ready for it, and if not, what mends it."""

from __future__ import annotations

import asyncio

from cdc_daemon.check.cassandra import check_cassandra
from cdc_daemon.check.elastic import check_elasticsearch
from cdc_daemon.check.finding import Finding, Status
from cdc_daemon.check.folders import check_folders
from cdc_daemon.config import Settings
from cdc_daemon.store.store import FILE_NAME

__all__ = ["Finding", "Status", "run_checks"]


def run_checks(settings: Settings) -> list[Finding]:
    """Look at the node, its tables, the folders and Elasticsearch. Nothing is changed.

    Takes a few seconds at most for each server that is down; that is a finding, never an error.
    """
    findings, node = check_cassandra(settings)
    if settings.tail:
        findings += check_folders(settings, node)
    has_run = (settings.state.directory / FILE_NAME).exists()
    findings += asyncio.run(check_elasticsearch(settings.elasticsearch, settings.mappings, has_run=has_run))
    return findings
