"""http/openapi.yaml: it is valid, its examples work, and a fuzzer finds no answer that it does not describe."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp, Receive, Scope, Send

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_http import create_app
from tests.unit.http.asking import ask, ask_json
from tests.unit.http.fake import FakeDaemon, running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

TEXT = (Path(__file__).parents[3] / "http/openapi.yaml").read_bytes()
DESCRIPTION: dict[str, Any] = yaml.safe_load(TEXT)
TOKEN = "fuzzer"

LENIENT = HttpSettings(
    contract="lenient",
    auth=AuthSettings(
        tokens=(
            TokenSettings(
                name="fuzzer", hash="sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest(), scopes=("sync", "admin")
            ),
        )
    ),
)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with running(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    return create_app(daemon, HttpSettings(contract="lenient"))


def examples() -> Iterator[Any]:
    content = DESCRIPTION["paths"]["/api/data/v1/index/sync"]["post"]["requestBody"]["content"]["application/json"]
    for name, example in content["examples"].items():
        yield pytest.param(example["value"], id=name)


def schema_of(name: str) -> Draft202012Validator:
    return Draft202012Validator({**DESCRIPTION, "$ref": f"#/components/schemas/{name}"})


async def test_it_is_served_as_it_is(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/openapi.yaml")
    assert answer.body == TEXT
    assert answer.headers["content-type"].startswith("application/yaml")


@pytest.mark.parametrize("body", list(examples()))
async def test_the_examples_of_requests_work(app: ASGIApp, body: Any) -> None:
    schema_of("SyncRequest").validate(body)
    answer = await ask_json(app, body, headers={"Content-Type": "application/json"})
    later = body["request"].get("operationType") == "async"
    assert answer.status == (202 if later else 200)
    schema_of("JobAnswer" if later else "SyncAnswer").validate(answer.json())


def test_the_examples_of_answers_are_of_their_schemas() -> None:
    checked = 0
    for path in DESCRIPTION["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                for media in response.get("content", {}).values():
                    if "example" in media:
                        Draft202012Validator({**DESCRIPTION, **media["schema"]}).validate(media["example"])
                        checked += 1
    assert checked >= 2


async def test_the_example_of_an_error_is_what_is_answered(app: ASGIApp) -> None:
    answers = DESCRIPTION["paths"]["/sync"]["post"]["responses"]
    example = json.loads(json.dumps(answers["400"]["content"]["application/json"]["example"]))
    body = {"params": {}, "request": {"objectIds": ["u"]}}
    found = (await ask_json(app, body, headers={"Content-Type": "application/json"})).json()
    for answer in (example, found):
        answer.pop("ts")
        answer["params"].pop("msgid")
        answer["params"].pop("resmsgid")
    assert example == found


def test_it_describes_each_route() -> None:
    app = create_app(FakeDaemon())
    served = {(route.path_format, method.lower()) for route in app.routes for method in route.methods}  # type: ignore[attr-defined]
    described = {(path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    assert {each for each in served if each[1] != "head"} == described


class FakeJobs:
    """Promises nothing, but checks as the real ones do."""

    async def start(self, object_type: str, ids: list[Any], **_: Any) -> Any:
        from cdc_daemon.store.jobs import Job  # noqa: PLC0415

        FakeDaemon().service.read_ids(object_type, ids)
        return Job(id="1", kind="sync", object_type=object_type, total=len(ids))

    async def report(self, identity: str) -> Any:
        assert identity


async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each request as a daemon of its own: the client gives each an event loop of its own."""
    daemon = FakeDaemon()
    daemon.jobs = FakeJobs()  # type: ignore[assignment]
    await create_app(daemon, LENIENT)(scope, receive, send)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schema = schemathesis.openapi.from_asgi("/openapi.yaml", fresh)


NOT_PROMISED: list[Any] = [
    # Which types there are, and what their ids look like, is the configuration's business.
    schemathesis.checks.CHECKS.get_one("positive_data_acceptance"),
    # Query parameters that nobody knows are passed over, as gateways add some.
    schemathesis.checks.CHECKS.get_one("negative_data_rejection"),
]


@schema.exclude(path="/events").parametrize()  # an answer without an end: tests/unit/http/test_events.py
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_fuzzer_finds_nothing(case: schemathesis.Case[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=NOT_PROMISED)
