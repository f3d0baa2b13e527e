"""The heartbeat's table has to be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cdc_daemon.config import Settings


def settings(tmp_path: Path, **heartbeat: Any) -> Settings:
    return Settings.model_validate({
        "commit_log": {"cdc_raw_directory": tmp_path},
        "state": {"directory": tmp_path},
        "heartbeat": heartbeat,
        "mappings": {"beat": {"table": "ops.heartbeat", "alias": "beat"}},
    })  # fmt: skip


def test_it_is_off_by_default(tmp_path: Path) -> None:
    assert settings(tmp_path).heartbeat.table is None


def test_a_mapped_table_may_be_its(tmp_path: Path) -> None:
    found = settings(tmp_path, table="ops.heartbeat", every="5s").heartbeat
    assert (str(found.table), found.every) == ("ops.heartbeat", 5.0)


def test_a_table_that_is_not_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"expected a mapping for heartbeat\.table, ops\.other"):
        settings(tmp_path, table="ops.other")
