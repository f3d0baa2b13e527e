"""The daemon is killed repeatedly with -9 at random moments under load; rows and documents must be equal at the end."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from elasticsearch import Elasticsearch

from bench.load import TABLES, MixedLoad
from cdc_daemon.config import load
from sandbox import Sandbox
from sandbox.cache import cache_directory
from sandbox.compare import Comparison, compare
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess

KEYSPACE = "kills"
SENTINEL = "sentinel"
SETTLED_SECONDS = 120.0
"""How long the daemon may take, after the load has ended, to show all of it."""

WHILE_STARTING = 0.2
"""The share of kills that do not wait until the daemon runs."""

LONGEST_LIFE = 3.0
"""Seconds after its start, or after it has begun to run, within which it is killed."""

Say = Callable[[str], None]


class NotSettledError(Exception):
    """The daemon did not process the whole load in time, or ended without being killed."""


def run(*, times: int, rate: float, seed: int, say: Say) -> list[Comparison]:
    """Start servers, load and daemon, kill the daemon so many times, and return the comparison of the end.

    Raises `NotSettledError` when the daemon does not show the last write in time, or ends by itself.
    """
    chance = random.Random(seed)  # noqa: S311 -- moments, no secret
    with closing(PortReservation()) as ports, Sandbox() as box, box.connect() as session:
        session.execute(
            f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        )
        for name, columns in {**TABLES, SENTINEL: "id int PRIMARY KEY"}.items():
            session.execute(f"CREATE TABLE {KEYSPACE}.{name} ({columns}) WITH cdc = true")
        port = ports.reserve()
        config = _write_config(box, port)
        program = Path(sys.executable).with_name("cdc-daemon")
        daemon = box.add(
            "daemon", [str(program), "run", "--config", str(config)], output=config.with_name("daemon.log")
        )
        daemon.start()
        with MixedLoad(session, KEYSPACE, rate=rate, seed=seed) as changes:
            for number in range(1, times + 1):
                began = time.monotonic()
                if chance.random() >= WHILE_STARTING:
                    _wait_running(daemon, port)
                time.sleep(chance.uniform(0.0, LONGEST_LIFE))
                if not daemon.alive:
                    raise NotSettledError(f"the daemon ended by itself\n{daemon.log_tail()}")
                state = _describe(port)
                daemon.kill()
                lived = time.monotonic() - began
                say(f"kill {number:2} of {times}, {lived:3.1f} s after its start, {state}; {changes.total:,} changes")
                time.sleep(chance.uniform(0.0, 0.5))
                daemon.start()
            changes.stop()
        say(f"load ended: {changes.total:,} changes, {changes.failed} failed; waiting for the last one")
        session.execute(f"INSERT INTO {KEYSPACE}.{SENTINEL} (id) VALUES (1)")  # noqa: S608 -- constants
        try:
            took = _wait_settled(box, port)
            say(f"settled {took:.1f} s after the load; comparing")
            return asyncio.run(compare(load(config)))
        finally:
            say(f"the daemon's log is kept: {shutil.copy(daemon.output, cache_directory() / 'kills-daemon.log')}")


def _write_config(box: Sandbox, port: int) -> Path:
    folder = box.directory / "daemon"
    folder.mkdir()
    config: dict[str, Any] = {
        "cassandra": {"contact_points": box.contact_points, "port": box.cassandra.port},
        "commit_log": {"cdc_raw_directory": str(box.cassandra.cdc_raw_directory)},
        "elasticsearch": {"hosts": [box.elasticsearch.url]},
        "state": {"directory": str(folder / "state")},
        "http": {"port": port},
        "mappings": {
            name: {"table": f"{KEYSPACE}.{name}", "alias": name, "settings": {"number_of_replicas": 0}}
            for name in (*TABLES, SENTINEL)
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def _wait_running(daemon: ServerProcess, port: int) -> None:
    until = time.monotonic() + SETTLED_SECONDS
    while daemon.alive and _status(port).get("state") != "running":
        if time.monotonic() > until:
            raise NotSettledError(f"the daemon did not run within {SETTLED_SECONDS:g} s\n{daemon.log_tail()}")
        time.sleep(0.02)


def _wait_settled(box: Sandbox, port: int) -> float:
    """Wait until the row written last has its document and nothing is pending; return how many seconds it took.

    The log is read in order: when the last row is shown, everything before it was handed over at least.
    """
    began = time.monotonic()
    with Elasticsearch(box.elasticsearch.url) as client:
        while not (_is_shown(client) and _is_idle(port)):
            if time.monotonic() - began > SETTLED_SECONDS:
                raise NotSettledError(f"the last write was not settled within {SETTLED_SECONDS:g} s")
            time.sleep(0.05)
    return time.monotonic() - began


def _is_shown(client: Elasticsearch) -> bool:
    return bool(client.options(ignore_status=404).get(index=SENTINEL, id="1").body.get("found"))


def _is_idle(port: int) -> bool:
    status = _status(port)
    return status.get("state") == "running" and status["pending"] == 0 and status["backlog"]["bytes"] == 0


def _describe(port: int) -> str:
    status = _status(port)
    if not status:
        return "not listening yet"
    return f"{status['state']}, {status.get('pending', 0)} pending"


def _status(port: int) -> dict[str, Any]:
    """Return what the daemon's /status answers; nothing while it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            status: dict[str, Any] = json.load(answer)
            return status
    except OSError:
        return {}
