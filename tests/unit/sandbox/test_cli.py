from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.cli import main
from sandbox.state import open_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_status_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert "no sandbox is up" in capsys.readouterr().out
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_status_and_down_of_a_dead_sandbox(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remains = cache / "sandboxes" / "mine"
    remains.mkdir(parents=True)
    (remains / "state.json").write_text('{"name": "mine", "cassandra": null, "elasticsearch": null}')

    assert main(["status"]) == 0
    assert "mine: dead" in capsys.readouterr().out
    assert main(["down", "mine"]) == 0
    assert not remains.exists()


def test_down_leaves_the_sandboxes_of_programs_alone(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = open_folder(name=None, directory=None)

    assert main(["down", folder.path.name]) == 1
    assert "was not started by `up`" in capsys.readouterr().err
    assert main(["down", "--all"]) == 0
    assert folder.path.exists()
    folder.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["down", "nobody"], "there is no sandbox 'nobody'"),
        (["kill", "cassandra", "--name", "nobody"], "there is no sandbox 'nobody'"),
        (["up", "--yaml", "cdc_enabled"], "expected KEY=VALUE, found 'cdc_enabled'"),
        (["up", "--name", "../x"], "expected a name"),
        (["up", "--nodes", "0"], "expected 1 to 9 nodes, found 0"),
        (["fetch", "--search", "solr"], "opensearch:2.19.5"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["up", "--cassandra", "2.2"], ["fetch", "--cassandra", "6"], ["fly"]])
def test_misspelt_commands_end_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
