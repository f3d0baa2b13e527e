"""What README and runbook tell people to look for exists: events of the log, keys, findings, errors and metrics."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from cdc_daemon.model import errors
from cdc_daemon.telemetry.metrics import Metrics
from monitoring.files import CHECKOUT
from tests.syntax import parse_file

DOCUMENTS = ["README.md", "k8s/README.md", *(f"docs/{file.name}" for file in sorted((CHECKOUT / "docs").glob("*.md")))]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "write"}
DOTTED = re.compile(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*\.[a-z0-9_]*)`")
FILES = re.compile(r"\.(?:yaml|json|idx|crt|key|py|ini|sock|org)$")

ELSEWHERE = {
    "cassandra.failure": "a field of /status",
    "elasticsearch.failure": "a field of /status",
    "index.gc_deletes": "a setting of an index",
}


def nodes(folder: str) -> Iterator[ast.AST]:
    """Every piece of the code in a folder."""
    for file in (CHECKOUT / folder).rglob("*.py"):
        yield from ast.walk(parse_file(file))


def as_text(node: ast.AST) -> str | None:
    """The text that a literal is."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def events(folder: str) -> Iterator[str]:
    """What is logged: the first argument of a log's methods, or of the one that was chosen; it may be two texts."""
    for node in nodes(folder):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if name in LEVELS:
                first = node.args[0]
                branches = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                yield from (text for each in branches if (text := as_text(each)) is not None)


def findings() -> Iterator[str]:
    """What `cdc-daemon check` calls its findings: all texts of this form in its code."""
    for node in nodes("cdc_daemon/cli/checks"):
        text = as_text(node)
        if text is not None and re.fullmatch(r"[a-z_]+\.[a-z_]+", text):
            yield text


def keys(schema: dict[str, Any], whole: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every key of the configuration, with dots."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    for one in schema.get("anyOf", []):
        yield from keys(one, whole, path)
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from keys(inner, whole, f"{path}{name}.")


EVENTS = {*events("cdc_daemon"), *events("http/cdc_http")}
SCHEMA = json.loads((CHECKOUT / "docs" / "config.schema.json").read_text(encoding="utf-8"))
KNOWN = {*EVENTS, *findings(), *keys(SCHEMA, SCHEMA), *ELSEWHERE}
BEGINNINGS = {word.partition(".")[0] for word in KNOWN}


def test_events_keys_and_findings_are_found_in_the_code() -> None:
    # Two branches of a condition, one at a level that was chosen before, a key of a section, a finding.
    assert {"tail.segment_damaged", "tail.mutation_unreadable", "http.request"} <= EVENTS
    assert {"http.auth.tokens", "state.reconcile"} <= KNOWN - EVENTS
    assert "tail.no_such_thing" not in KNOWN


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    for word in DOTTED.findall(text):
        if word.endswith("."):
            assert any(event.startswith(word) for event in EVENTS), f"no event begins with {word}"
        elif word.partition(".")[0] in BEGINNINGS and not FILES.search(word):
            assert word in KNOWN, f"{word} is no event, key or finding"
    for name in re.findall(r"`(\w+Error)`", text):
        assert hasattr(errors, name), name


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/metrics.md", "config.example.yaml"])
def test_each_metric_a_document_names_exists(document: str) -> None:
    described = {description.name for description in Metrics().descriptions}
    named = set(re.findall(r"\bcdc_daemon_[a-z_]+\b", (CHECKOUT / document).read_text(encoding="utf-8")))
    assert named <= described
