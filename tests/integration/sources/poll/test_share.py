"""Two daemons without a node poll one table: each row is written once, and one takes over from the other."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path

from cassandra.concurrent import execute_concurrent_with_args

from sandbox.ports import PortReservation
from tests.integration.daemon.harness import DaemonProcess, wait_for
from tests.integration.daemon.stage import Stage
from tests.integration.sources.poll.polled import poll, wait_equal


def fill(stage: Stage, first: int, last: int) -> None:
    statement = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.person (id, name) VALUES (?, ?)")
    rows = [(f"p-{each}", f"name {each}") for each in range(first, last)]
    execute_concurrent_with_args(stage.cql, statement, rows)


def test_two_pollers_write_each_row_once_and_one_takes_over(stage: Stage, tmp_path: Path) -> None:
    stage.create("person", "id text PRIMARY KEY, name text", cdc=False)
    stage.map("person")
    alias, token = stage.alias("person"), secrets.token_hex(16)
    others = ("127.0.0.1", "127.0.0.2")
    with closing(PortReservation()) as ports:
        port = ports.reserve(others)
        daemons = [stage.daemon, DaemonProcess(stage.box, tmp_path / "other", mappings=stage.mappings)]
        for daemon, host in zip(daemons, others, strict=True):
            daemon.config["tail"] = False
            daemon.config["poll"] = [
                poll(stage, "person", strategy="scan", overlap="2s", deletes={"every": "2s"}),
            ]
            daemon.config["peers"] = {"port": port, "host": host, "addresses": list(others), "token": token}
        fill(stage, 0, 400)
        try:
            for daemon in daemons:
                daemon.run()
            wait_for(
                "the daemons to know each other",
                lambda: all(daemon.status()["share"]["others"] == 1 for daemon in daemons),
            )
            wait_equal(stage, "person")

            def written() -> list[float]:
                return [daemon.metric("documents_total", alias=alias, outcome="indexed") for daemon in daemons]

            before = written()
            fill(stage, 400, 800)
            wait_equal(stage, "person")
            new = [after - was for after, was in zip(written(), before, strict=True)]
            assert min(new) > 0
            # A row that is read within `lag` after its change is read once more.
            assert 400 <= sum(new) <= 2 * 400

            daemons[0].kill()
            fill(stage, 800, 1200)
            stage.execute("DELETE FROM {ks}.person WHERE id IN ('p-1', 'p-2', 'p-3', 'p-400', 'p-500')")
            wait_equal(stage, "person")
            assert daemons[1].stop() == 0
        finally:
            for daemon in daemons:
                daemon.kill()
