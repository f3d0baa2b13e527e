"""docs/architecture.md and docs/guarantees.md name only what exists, and the code cites only promises that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
DOCS = CHECKOUT / "docs"
PAGES = ("architecture.md", "guarantees.md")
ROOTS = (CHECKOUT, CHECKOUT / "cdc_daemon", CHECKOUT / "http")
LAYERS = re.compile(r"\| `cdc_daemon\.(\w+)`")


def paragraphs(page: str) -> Iterator[str]:
    """Return the rows of tables, the items of lists and the paragraphs of a page, without its drawing."""
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.split(r"\n\n|\n(?=\||- |\d+\. )", text)


def is_path(name: str) -> bool:
    return re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", name) is not None and (
        "/" in name or name.endswith((".py", ".md", ".toml", ".yaml", ".json"))
    )


def exists(name: str, folders: set[Path]) -> bool:
    return any(folder.is_dir() and any(folder.glob(name.rstrip("/"))) for folder in folders)


@pytest.mark.parametrize("page", PAGES)
def test_each_path_in_the_page_exists(page: str) -> None:
    seen, missing = 0, []
    for paragraph in paragraphs(page):
        # `entries.py` after `commitlog/section.py`, and `checks/` in the row of a layer, are named from there.
        folders = {*ROOTS, *(CHECKOUT / "cdc_daemon" / layer for layer in LAYERS.findall(paragraph))}
        for name in filter(is_path, re.findall(r"`([^`\s]+)`", paragraph)):
            seen += 1
            if not exists(name, folders):
                missing.append(name)
            folders |= {(root / name).parent for root in ROOTS}
    assert seen
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_each_class_in_the_page_exists(page: str) -> None:
    # The guarantees name the defects that are planted in the simulations, too.
    roots = (*ROOTS[1:], CHECKOUT / "tests" / "simulation")
    code = "".join(file.read_text(encoding="utf-8") for root in roots for file in root.rglob("*.py"))
    named = {name for each in paragraphs(page) for name in re.findall(r"`([A-Z]\w*[a-z]\w*)`", each)}
    assert {name for name in named if f"class {name}" not in code} == set()


def test_each_configuration_key_in_the_guarantees_exists() -> None:
    schema = json.loads((DOCS / "config.schema.json").read_text(encoding="utf-8"))
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    keys = {key for key in re.findall(r"`([a-z_]+\.[a-z_]+)[`:]", text) if not is_path(key)}
    assert keys

    def known(key: str) -> bool:
        section, name = key.split(".")
        found = schema["properties"][section]
        found = schema["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found
        return name in found["properties"]

    assert {key for key in keys if not known(key)} == set()


def test_each_promise_names_its_code_and_its_tests() -> None:
    promises = [each for each in paragraphs("guarantees.md") if re.match(r"\d+\. \*\*", each)]
    assert [int(each.partition(".")[0]) for each in promises] == list(range(1, len(promises) + 1))
    for promise in promises:
        assert re.search(r"\bCode: `cdc_daemon/", promise), promise
        assert re.search(r"\bTests: `tests/", promise), promise


def test_the_code_cites_promises_that_exist() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    promises = set(re.findall(r"^(\d+)\. \*\*", text, flags=re.MULTILINE))
    cited = {
        number
        for root in ROOTS[1:]
        for file in root.rglob("*.py")
        for number in re.findall(r"guarantees\.md,\s+promise (\d+)", file.read_text(encoding="utf-8"))
    }
    assert cited
    assert cited <= promises
