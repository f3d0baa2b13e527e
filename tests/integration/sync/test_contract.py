"""The running daemon against its description: whatever a fuzzer sends is answered as `openapi.yaml` says."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.integration.daemon.stage import Stage
from tests.integration.sync.asking import TOKEN, send

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

# Actions that begin work on whole tables, and streams without an end, have tests of their own.
PATHS = (
    r"^(/api/data/v1/index/sync|/v1/data/sync|/sync)(/\{job\})?$|^/(livez|readyz|metrics|status)$|^/admin/dead-letters$"
)

NOT_PROMISED = (
    # Which types there are, and what their ids look like, is the configuration's business.
    "positive_data_acceptance",
    # Query parameters that nobody knows are passed over, as gateways add some.
    "negative_data_rejection",
)


@pytest.fixture(scope="module")
def described(stage: Stage) -> Any:
    """The description as the daemon serves it."""
    port = stage.daemon.wait_event("http.listening")["port"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.yaml").include(path_regex=PATHS)


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_fuzzer_finds_nothing(case: schemathesis.Case[Any]) -> None:
    body = case.body
    if isinstance(body, dict) and isinstance(inner := body.get("request"), dict) and inner.get("objectType") == "user":
        inner["objectType"] = "person"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        excluded: list[Any] = [schemathesis.checks.CHECKS.get_one(name) for name in NOT_PROMISED]
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=excluded)


def test_nothing_of_it_broke_the_daemon(stage: Stage) -> None:
    assert not stage.daemon.events("http.failed")
    assert send(stage, "GET", "/livez").status == 200
