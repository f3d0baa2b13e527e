"""The preflight check of everything that the daemon depends on, with a remedy for each problem."""

from __future__ import annotations

import asyncio
import socket

from cdc_daemon.cli.checks.cassandra import check_cassandra
from cdc_daemon.cli.checks.daemon import check_http, check_peers, check_running
from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch
from cdc_daemon.cli.checks.finding import Finding, Status, fail, ok
from cdc_daemon.cli.checks.folders import check_folders
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.telemetry.tracing import make_tracer

__all__ = ["Finding", "Status", "run_checks"]


def run_checks(settings: Settings) -> list[Finding]:
    """Check the node, its tables, the directories, the HTTP server and the search engine. Nothing is changed.

    Everything that makes `cdc-daemon run` fail at its start is checked here too. A server that is down is a finding,
    not an error, and costs a few seconds at most.
    """
    findings, node, fitting = check_cassandra(settings)
    findings += check_folders(settings, node)
    found, running = check_running(settings)
    findings.append(found)
    findings += check_http(settings.http, running=running)
    findings += check_peers(
        settings.peers, running=running, divided=settings.tail and settings.commit_log.ownership == "primary"
    )
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
