"""`init --example` writes the configurations of the checkout, also when the daemon is installed from a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc_daemon.cli.init_tools.examples import Example, write_example
from cdc_daemon.cli.main import app
from cdc_daemon.config import load
from cdc_daemon.model.errors import CdcError

CHECKOUT = Path(__file__).parents[4]
SOURCES = {Example.SUNBIRD: "config.example.yaml", Example.SUNBIRD_SPARK: "config.sunbird-spark.yaml"}


def without_schema(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "yaml-language-server" not in line).lstrip()


def check(example: Example, folder: Path) -> None:
    source = (CHECKOUT / SOURCES[example]).read_text(encoding="utf-8")
    assert (folder / "config.yaml").read_text(encoding="utf-8") == without_schema(source)
    for file in (CHECKOUT / "examples").rglob("*.*"):
        assert (folder / file.relative_to(CHECKOUT)).read_bytes() == file.read_bytes()
    for indices in ("plain", "full"):
        written = load(folder / "config.yaml", environment={"SUNBIRD_INDICES": indices}).mappings
        source_mappings = load(CHECKOUT / SOURCES[example], environment={"SUNBIRD_INDICES": indices}).mappings
        assert written.keys() == source_mappings.keys()
        for name, mapping in written.items():
            assert mapping.mappings == source_mappings[name].mappings
            assert mapping.settings == source_mappings[name].settings


@pytest.mark.parametrize("example", Example)
def test_an_example_is_the_configuration_of_the_checkout_with_its_files(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    result = CliRunner().invoke(app, ["init", "--example", example, "--output", str(file)])
    assert result.exit_code == 0
    assert f"next: cdc-daemon check --config {file}" in result.stdout
    check(example, file.parent)


def test_it_can_be_written_again_and_replaces_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    written = write_example(Example.SUNBIRD, file)
    assert write_example(Example.SUNBIRD, file) == written
    for each in (file, written[-1]):
        text = each.read_text(encoding="utf-8")
        each.write_text("mine")
        with pytest.raises(CdcError, match="nothing was written") as caught:
            write_example(Example.SUNBIRD, file)
        assert caught.value.where["file"] == str(each)
        assert each.read_text() == "mine"
        each.write_text(text, encoding="utf-8")


def test_the_wheel_carries_the_examples(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    for example in Example:
        folder = tmp_path / example
        command = [sys.executable, "-m", "cdc_daemon", "init", "--example", example, "-o", f"{folder}/config.yaml"]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(wheel)}, check=True)
        check(example, folder)
