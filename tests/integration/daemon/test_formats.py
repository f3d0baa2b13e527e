"""The daemon beside nodes of other versions, and nodes that compress or encrypt their commit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox import FAST_START, Sandbox
from sandbox.search_client import make_search_client
from tests.fixtures_maker.make import PASSWORD, Combination, make_keystore
from tests.integration.daemon.mixed import Mixed
from tests.integration.daemon.stage import new_stage


@pytest.mark.parametrize(
    "combination",
    [
        Combination("4.0", "plain"),
        Combination("4.1", "lz4"),
        Combination("5.0", "encrypted"),
        Combination("5.0", "zstd", segment_version=8),
    ],
    ids=lambda combination: combination.name,
)
def test_rows_and_removals_are_shown(combination: Combination, box: Sandbox, tmp_path: Path) -> None:
    keystore = tmp_path / "keystore.jceks"
    commit_log: dict[str, Any] = {}
    if combination.kind == "encrypted":
        make_keystore(keystore)
        commit_log = {"keystore": str(keystore), "keystore_password": PASSWORD}
    yaml = {**combination.yaml(keystore), "commitlog_sync_period": "500ms"}
    node = Sandbox(
        cassandra=combination.cassandra, elasticsearch=False, yaml=yaml, heap="512m", java_options=FAST_START
    )
    with (
        node,
        node.connect() as cql,
        make_search_client(box.elasticsearch.url) as elastic,
        new_stage(Mixed(node, box), cql, elastic, tmp_path) as stage,
    ):
        stage.table("rows", "p text, c int, v text, tags set<text>, s text static, PRIMARY KEY (p, c)")
        stage.daemon.config["commit_log"] |= commit_log
        stage.daemon.run()
        for number in range(20):
            stage.execute(
                "INSERT INTO {ks}.rows (p, c, v, tags) VALUES (%s, %s, 'v', {'a'})", [f"p{number % 4}", number]
            )
        stage.execute("UPDATE {ks}.rows SET tags = tags + {'b'} WHERE p = 'p1' AND c = 1")
        stage.execute("DELETE FROM {ks}.rows WHERE p = 'p2'")
        stage.execute("DELETE FROM {ks}.rows WHERE p = 'p3' AND c > 10")
        stage.execute("UPDATE {ks}.rows SET s = 'shared' WHERE p = 'p0'")
        stage.settle()
        stage.assert_equal("rows")
        assert len(stage.documents("rows")) == 12
        stage.assert_nothing_set_aside()
