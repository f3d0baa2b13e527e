from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from cdc_daemon import __version__
from cdc_daemon.cli import common
from cdc_daemon.cli import main as cli
from cdc_daemon.cli.main import app
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError

runner = CliRunner()

RIGHT = """
cassandra: {username: daemon, password: hunter2}
commit_log: {cdc_raw_directory: raw}
state: {directory: state}
log: {format: json}
mappings: {user: {table: sunbird.user, alias: user_alias}}
"""


@pytest.fixture
def right(tmp_path: Path) -> Path:
    file = tmp_path / "right.yaml"
    file.write_text(RIGHT)
    return file


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.yaml"
    file.write_text(RIGHT + "lgo: {}\nhttp: {port: 99999}\n")
    return file


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cdc-daemon", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_a_right_configuration(right: Path) -> None:
    result = runner.invoke(app, ["config", "validate", "--config", str(right)])
    assert result.exit_code == 0
    assert "user (sunbird.user to user_alias)" in result.stdout


def test_a_wrong_configuration(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "config", "validate", "--config", str(wrong)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 mistakes" in captured.err
    assert "lgo: unknown key (did you mean log?)" in captured.err
    assert "line 8: http.port: expected at most 65535, found 99999" in captured.err
    assert str(wrong) in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", [["run"], ["check"], ["config", "show"]])
def test_every_command_refuses_a_wrong_configuration_in_the_same_way(
    command: list[str], wrong: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, *command, "-c", str(wrong)) == 2
    assert "did you mean log?" in capsys.readouterr().err


def test_debug_shows_the_traceback(wrong: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cdc-daemon", "--debug", "config", "validate", "-c", str(wrong)])
    with pytest.raises(ConfigError):
        cli.main()


def test_show_tells_everything_but_secrets(right: Path) -> None:
    result = runner.invoke(app, ["config", "show", "-c", str(right)])
    assert result.exit_code == 0
    shown = yaml.safe_load(result.stdout)
    assert shown["cassandra"]["password"] == "**********"
    assert shown["cassandra"]["request_timeout"] == "10s"
    assert shown["state"]["directory"] == str(right.parent / "state")
    assert "hunter2" not in result.output
    as_json = runner.invoke(app, ["config", "show", "-c", str(right), "--json"])
    assert json.loads(as_json.stdout) == shown


def test_schema_is_a_json_schema() -> None:
    result = runner.invoke(app, ["config", "schema"])
    assert result.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))


def test_version() -> None:
    result = runner.invoke(app, ["version"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"cdc-daemon {__version__}\n")
    assert "cassandra-driver " in result.stdout


@pytest.mark.parametrize(
    "command",
    [[], ["run"], ["check"], ["config"], ["config", "validate"], ["config", "show"], ["config", "schema"], ["version"]],
)
def test_every_command_has_help(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout) > 100


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--confg", "x"], ["check", "extra"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


class TestWhereTheConfigurationIs:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv(common.CONFIG_VARIABLE, raising=False)
        monkeypatch.setattr(common, "CONFIG_PLACES", (Path("config.yaml"), tmp_path / "etc.yaml"))

    def test_named_by_the_option_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(common.CONFIG_VARIABLE, "variable.yaml")
        assert common.find_config(Path("option.yaml")) == Path("option.yaml")

    def test_then_by_the_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("config.yaml").touch()
        monkeypatch.setenv(common.CONFIG_VARIABLE, "variable.yaml")
        assert common.find_config(None) == Path("variable.yaml")

    def test_then_in_the_known_places(self, tmp_path: Path) -> None:
        (tmp_path / "etc.yaml").touch()
        assert common.find_config(None) == tmp_path / "etc.yaml"
        Path("config.yaml").touch()
        assert common.find_config(None) == Path("config.yaml")

    def test_nowhere(self) -> None:
        with pytest.raises(ConfigError, match="expected a configuration file") as caught:
            common.find_config(None)
        assert common.CONFIG_VARIABLE in str(caught.value.hint)


class TestRun:
    """`run` hands the settings to the daemon and ends with its exit code."""

    @pytest.fixture
    def daemon(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        from cdc_daemon import app as package  # noqa: PLC0415

        module = ModuleType("cdc_daemon.app.daemon")
        monkeypatch.setitem(sys.modules, "cdc_daemon.app.daemon", module)
        monkeypatch.setattr(package, "daemon", module, raising=False)
        monkeypatch.setattr("cdc_daemon.telemetry.logs.configure", lambda _settings: None)
        return module

    @pytest.mark.parametrize("code", [0, 3])
    def test_ends_with_the_daemons_exit_code(self, daemon: ModuleType, right: Path, code: int) -> None:
        seen: list[Settings] = []

        async def run(settings: Settings, file: Path, *, watch: bool) -> int:
            assert (file, watch) == (right, False)
            seen.append(settings)
            return code

        daemon.__dict__["run"] = run
        assert runner.invoke(app, ["run", "-c", str(right)]).exit_code == code
        assert seen[0].mappings["user"].alias == "user_alias"

    def test_an_expected_error_is_one_message(
        self, daemon: ModuleType, right: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async def run(_settings: Settings, _file: Path, *, watch: bool) -> int:
            assert not watch
            raise CassandraUnavailableError("expected [an] answer, found none", hint="is it up?", node="10.0.0.1")

        daemon.__dict__["run"] = run
        assert _main(monkeypatch, "run", "-c", str(right)) == 1
        assert capsys.readouterr().err.splitlines() == [
            "error: expected [an] answer, found none",
            "  node: 10.0.0.1",
            "  hint: is it up?",
        ]


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_help_and_version_start_without_the_heavy_modules() -> None:
    heavy = ("cdc_daemon.config", "cassandra", "elasticsearch", "aiohttp", "starlette", "uvicorn", "structlog")
    program = f"""
import sys
from cdc_daemon.cli import main as cli
sys.argv = ["cdc-daemon", "version"]
try:
    cli.main()
except SystemExit:
    pass
print([name for name in {heavy} if name in sys.modules])
"""
    assert _python("-c", program).stdout.splitlines()[-1] == "[]"


def test_validating_needs_no_driver(right: Path) -> None:
    program = f"""
import sys
from cdc_daemon.cli import main as cli
sys.argv = ["cdc-daemon", "config", "validate", "-c", {str(right)!r}]
try:
    cli.main()
except SystemExit:
    pass
print([name for name in ("cassandra", "elasticsearch", "aiohttp", "uvicorn") if name in sys.modules])
"""
    assert _python("-c", program).stdout.splitlines()[-1] == "[]"


def test_the_console_script_is_there(wrong: Path) -> None:
    script = Path(sys.executable).with_name("cdc-daemon")
    result = subprocess.run(
        [script, "config", "validate", "-c", wrong], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "unknown key" in result.stderr


def test_an_unexpected_error_is_a_message_and_debug_shows_its_traceback(
    right: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_settings: Settings) -> None:
        raise RuntimeError("something\nodd")

    monkeypatch.setattr("cdc_daemon.cli.checks.run_checks", fail)
    assert _main(monkeypatch, "check", "-c", str(right)) == 1
    error = capsys.readouterr().err
    assert "unexpected RuntimeError: something odd" in error
    assert "--debug" in error
    monkeypatch.setattr(sys, "argv", ["cdc-daemon", "--debug", "check", "-c", str(right)])
    with pytest.raises(RuntimeError):
        cli.main()
