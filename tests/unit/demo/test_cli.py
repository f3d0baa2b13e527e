from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.demo.cli import main
from sandbox.demo.guide import guide, outlook
from sandbox.demo.stage import Stage


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--seconds", "soon"],
        ["--rate", "-1"],
        ["--rate", "1.5"],
        ["now"],
        ["--search", "solr"],
        ["--cassandra", "2"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


class _Stage:
    index_url = "http://127.0.0.1:9250/user_alias"
    daemon_url = "http://127.0.0.1:8123"

    def __init__(self, folder: Path) -> None:
        self.log_path = folder / "daemon.log"
        self.config_path = folder / "config.yaml"


def test_the_guide_names_what_is_up(tmp_path: Path) -> None:
    text = "\n".join(guide(cast("Stage", _Stage(tmp_path))))

    for told in (
        *("sandbox cql --name demo", "http://127.0.0.1:9250/user_alias/_doc/me", "http://127.0.0.1:8123/status"),
        *(
            "  http://127.0.0.1:8123/\n",
            "http://127.0.0.1:8123/metrics",
            str(tmp_path / "daemon.log"),
            "sandbox down demo",
            "kill daemon --name demo",
        ),
        *(f"sandbox compare --config {tmp_path / 'config.yaml'}",),
    ):
        assert told in text


def test_who_left_nothing_up_is_told_how_to_look_around() -> None:
    text = "\n".join(outlook())
    for told in ("make demo KEEP=1", "status page", "metrics", "make observe"):
        assert told in text


def test_servers_that_do_not_start_are_a_failure_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDC_DAEMON_CACHE", str(tmp_path))
    made: list[Stage] = []

    class _Nothing(Stage):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._background.close()
            made.append(self)

    monkeypatch.setattr("sandbox.demo.cli.Stage", _Nothing)

    assert main([]) == 1
    assert made[0]._background._supervisor.returncode is not None
    assert "failed: " in capsys.readouterr().err
