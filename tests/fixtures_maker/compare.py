"""Random writes through a real server: is what `dump --raw` says what Cassandra's own reader says?"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from tests.fixtures_maker.make import PASSWORD, Combination, ask, plain, segments_with_cdc, snapshot
from tests.fixtures_maker.random_workload import RandomWorkload


def compare(combination: Combination, seed: int) -> tuple[int, int]:
    """Write by a seed and compare; return how many updates are equal, and how many writes Cassandra refused.

    Raises `AssertionError` with the first update that differs.
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        work = Path(scratch)
        keystore = work / "keystore.jceks"
        box = combination.sandbox(work / "box", keystore)
        with box, box.connect() as session:
            _, refused = RandomWorkload(seed, vectors=combination.cassandra >= "5").run(session)
            (work / "schema.json").write_text(json.dumps(snapshot(session), default=plain))
            node = box.cassandra
            node.stop()
        segments = segments_with_cdc(node)
        theirs = [json.loads(line) for line in ask(node, segments).splitlines()]
        options = ["--keystore", str(keystore)] if keystore.exists() else []
        result = CliRunner().invoke(
            app,
            ["segments", "dump", "--raw", "--schema", str(work / "schema.json"), *options, *map(str, segments)],
            env={"CDC_DAEMON_KEYSTORE_PASSWORD": PASSWORD},
        )
        ours = [json.loads(line) for line in result.stdout_bytes.splitlines()]
        assert result.exit_code == 0, result.stderr
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            other.pop("local_deletion_times")
            assert one == other, f"update {number} of seed {seed}: ours {one}, Cassandra's {other}"
        assert len(ours) == len(theirs), f"seed {seed}: {len(ours)} updates, {len(theirs)} by Cassandra's reader"
        return len(ours), refused
