"""The layers are written down twice: for import-linter and for people."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def test_the_documented_layers_are_those_that_import_linter_checks() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    checked = [layer.split(" | ") for layer in contract["layers"]]
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## The layers")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [re.findall(r"`([\w.]+)`", row) for row in rows] == checked


def test_each_folder_is_a_layer() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    named = {name for layer in contract["layers"] for name in layer.split(" | ")}
    folders = {f"cdc_daemon.{path.parent.name}" for path in (CHECKOUT / "cdc_daemon").glob("*/__init__.py")}
    assert named == folders | {"cdc_http"}
