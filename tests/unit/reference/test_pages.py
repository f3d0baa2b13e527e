"""The reference pages are as the code makes them now, and name everything that there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_daemon.config import json_schema
from reference.configuration import configuration_page
from reference.http_api import http_page
from reference.markdown import table
from reference.pages import CHECKOUT, COMMAND, pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_is_up_to_date(path: Path) -> None:
    made = pages()[path]()
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    assert found == made, f"{path.relative_to(CHECKOUT)} is not what the code makes: run `{COMMAND}` and commit it"


def keys(schema: Mapping[str, Any]) -> Iterator[str]:
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})


def test_the_configuration_reference_has_every_key_and_section() -> None:
    schema = json_schema()
    page = configuration_page()
    assert set(keys(schema))
    assert {key for key in keys(schema) if f"`{key}`" not in page} == set()
    assert len([line for line in page.splitlines() if line.startswith("## ")]) == 1 + len(schema["$defs"])


def test_the_page_of_the_api_has_every_path() -> None:
    text = (CHECKOUT / "http" / "openapi.yaml").read_text(encoding="utf-8")
    headings = {line for line in http_page(text).splitlines() if line.startswith("### ")}
    paths = {
        f"### {method.upper()} {path}"
        for path, item in yaml.safe_load(text)["paths"].items()
        for method in item
        if method in {"get", "post", "put", "delete"}
    }
    assert paths
    assert headings == paths


def test_a_cell_stays_on_one_line_and_keeps_its_bars() -> None:
    assert list(table(("a", "b"), [("x\n  y", "p|q")])) == ["| a | b |", "| --- | --- |", "| x y | p\\|q |", ""]
    assert list(table(("a",), [])) == []
