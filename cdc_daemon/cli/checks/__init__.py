"""The preflight: is everything outside the daemon ready for it, and if not, what mends it."""

from __future__ import annotations

import asyncio
import socket

from cdc_daemon.cli.checks.cassandra import check_cassandra
from cdc_daemon.cli.checks.daemon import check_http, check_running
from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch
from cdc_daemon.cli.checks.finding import Finding, Status, fail, ok
from cdc_daemon.cli.checks.folders import check_folders
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.telemetry.tracing import make_tracer

__all__ = ["Finding", "Status", "run_checks"]


def run_checks(settings: Settings) -> list[Finding]:
    """Check the node, its tables, the folders, the HTTP surface and Elasticsearch. Nothing is changed.

    Each validation that makes `run` end at its start is done here too. Takes a few seconds at most for each server that
    is down; that is a finding, never an error.
    """
    findings, node, fitting = check_cassandra(settings)
    findings += check_folders(settings, node)
    found, running = check_running(settings)
    findings.append(found)
    findings += check_http(settings.http, running=running)
    findings += _check_tracing(settings)
    has_run = (settings.state.directory / FILE_NAME).exists()
    findings += asyncio.run(check_elasticsearch(settings.elasticsearch, settings.mappings, fitting, has_run=has_run))
    return findings


def _check_tracing(settings: Settings) -> list[Finding]:
    try:
        tracer = make_tracer(settings.tracing, node=socket.gethostname())
    except ConfigError as error:
        return [fail("tracing", error.message, error.hint)]
    if tracer is None:
        return []
    tracer.close()
    return [ok("tracing", f"spans go to {settings.tracing.endpoint}")]
