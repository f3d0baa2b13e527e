"""The running daemon against its description: whatever a fuzzer sends is answered as `openapi.yaml` says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.integration.daemon.stage import Stage
from tests.integration.sources.requests.asking import TOKEN, send
from tests.unit.http.contract import not_promised

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

EXAMPLES = 6
"""Of each kind for each operation."""


@pytest.fixture
def description(stage: Stage) -> Iterator[dict[str, Any]]:
    """The description as the daemon serves it, its object types narrowed to those that there are."""
    described = yaml.safe_load(stage.daemon.get("/openapi.yaml"))
    types = {"type": "string", "enum": sorted(stage.mappings)}
    described["components"]["schemas"]["SyncInner"]["properties"]["objectType"] = types
    for kind in ("backfill", "reconcile"):
        content = described["paths"][f"/admin/{kind}"]["post"]["requestBody"]["content"]["application/json"]
        content["schema"]["properties"]["types"]["items"] = types
    del described["paths"]["/events"]  # an answer without an end: tests/unit/http/routes/test_status.py
    yield described
    send(stage, "POST", "/admin/resume")


def test_a_fuzzer_finds_nothing(stage: Stage, description: dict[str, Any]) -> None:
    for number in range(20):
        stage.execute("INSERT INTO {ks}.person (id, name, n) VALUES (%s, 'x', 1)", [str(number)])
    modes = schemathesis.GenerationMode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_dict(description)
        found: list[Any] = list(schema.get_all_operations())
        operations = [each.ok() for each in found]
        assert {operation.path for operation in operations} == description["paths"].keys()
        for operation in operations:
            for mode in (modes.POSITIVE, modes.NEGATIVE) if _has_input(operation) else (modes.POSITIVE,):
                _check(operation, mode, stage.daemon.url)
    assert send(stage, "GET", "/livez").content["ok"]
    statuses = {request["status"] for request in stage.daemon.events("http.request")}
    assert {200, 400} < statuses, "some of what was sent could be done, some could not"
    assert not [line for line in stage.daemon.log() if line.get("level") in {"error", "critical"}]


def _has_input(operation: Any) -> bool:
    return bool(operation.body or operation.query or operation.path_parameters or operation.headers)


def _check(operation: Any, mode: Any, url: str) -> None:
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        case.call_and_validate(base_url=url, headers=headers, excluded_checks=not_promised(case))

    check()
