"""A shell completes commands, and the names of types and tables of the configuration; no server is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc_daemon import __version__
from cdc_daemon.cli.main import app

CONFIGURATION = """
state: {directory: state}
elasticsearch: {hosts: ["http://127.0.0.1:1"]}
poll: [{table: shop.prices, column: changed}]
mappings:
  user:
    table: shop.users
    joins: {orders: {table: shop.orders, on: {user: id}}}
    lookups: {city: {table: places.cities, on: {id: city}}}
  item: {table: shop.items}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CDC_DAEMON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    return tmp_path


def complete(*words: str) -> list[str]:
    """Return what a bash offers for the last word."""
    environment = {
        "_CDC_DAEMON_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("cdc-daemon", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(app, prog_name="cdc-daemon", env=environment).stdout.split()


def test_commands_are_completed(here: Path) -> None:
    assert here.exists()
    assert complete("back") == ["backfill"]
    assert complete("dead-letters", "re") == ["replay"]
    assert complete("init", "--example", "") == ["sunbird", "sunbird-spark"]


@pytest.mark.parametrize(
    "words", [("sync",), ("backfill",), ("reconcile",), ("preview",), ("rollback",), ("drop-index",)], ids=" ".join
)
def test_types_are_completed(words: tuple[str, ...], here: Path) -> None:
    assert here.exists()
    assert complete(*words, "") == ["item", "user"]
    assert complete(*words, "us") == ["user"]
    assert complete(*words, "x") == []


def test_tables_are_completed_also_joined_and_polled_ones(here: Path) -> None:
    assert here.exists()
    tables = ["places.cities", "shop.items", "shop.orders", "shop.prices", "shop.users"]
    assert complete("dead-letters", "list", "--table", "") == tables
    assert complete("segments", "dump", "--table", "shop.p") == ["shop.prices"]
    assert complete("segments", "dump", "--keyspace", "") == ["places", "shop"]


def test_the_named_configuration_is_read(here: Path) -> None:
    (here / "other.yaml").write_text("mappings: {parcel: {table: post.parcels}}")
    assert complete("sync", "--config", "other.yaml", "") == ["parcel"]


@pytest.mark.parametrize("text", ["", "mappings: [1]", "mappings: {a: ", "- 1", "\x00"])
def test_a_wrong_configuration_completes_nothing(text: str, here: Path) -> None:
    (here / "config.yaml").write_text(text)
    assert complete("sync", "") == []
    assert complete("dead-letters", "list", "--table", "") == []


def test_without_a_configuration_there_is_nothing(here: Path) -> None:
    (here / "config.yaml").unlink()
    assert complete("sync", "") == []


def test_the_module_and_the_version() -> None:
    for words in (["--version"], ["sync", "--help"]):
        ran = subprocess.run(
            [sys.executable, "-m", "cdc_daemon", *words], env=os.environ, capture_output=True, text=True, check=True
        )
        assert ran.stdout
    assert CliRunner().invoke(app, ["--version"]).stdout == f"cdc-daemon {__version__}\n"
