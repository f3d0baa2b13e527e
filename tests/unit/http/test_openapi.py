"""http/openapi.yaml: it is valid, its examples work, and a fuzzer finds no answer that it does not describe."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
import yaml
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cdc_daemon.cli.dead_letters import DeadLetterKind
from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_daemon.store.dead_letter_filter import KINDS
from cdc_http import create_app
from tests.unit.http.asking import DOCUMENTED, ask, ask_json
from tests.unit.http.contract import DESCRIPTION, TEXT, documented, not_promised, schema_of
from tests.unit.http.fake import FakeDaemon, running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

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


def test_letters_are_of_the_kinds_that_are_documented() -> None:
    assert DESCRIPTION["components"]["parameters"]["LetterKind"]["schema"]["enum"] == [*KINDS]
    assert [kind.value for kind in DeadLetterKind] == [*KINDS]


def examples(content_type: str) -> Iterator[Any]:
    content = DESCRIPTION["paths"]["/api/data/v1/index/sync"]["post"]["requestBody"]["content"][content_type]
    for name, example in content["examples"].items():
        yield pytest.param(example["value"], id=name)


def urlencoded(fields: Mapping[str, str | list[str]]) -> tuple[str, bytes]:
    return "application/x-www-form-urlencoded", urlencode(fields, doseq=True).encode()


def multipart(fields: Mapping[str, str | list[str]]) -> tuple[str, bytes]:
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, texts in fields.items()
        for text in ([texts] if isinstance(texts, str) else texts)
    ]
    return "multipart/form-data; boundary=limit", "".join([*parts, "--limit--\r\n"]).encode()


async def test_it_is_served_as_it_is(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/openapi.yaml")
    assert answer.body == TEXT
    assert answer.headers["content-type"].startswith("application/yaml")


@pytest.mark.parametrize("body", list(examples("application/json")))
async def test_the_examples_of_requests_work(app: ASGIApp, body: Any) -> None:
    schema_of("SyncRequest").validate(body)
    answer = await ask_json(app, body, headers={"Content-Type": "application/json"})
    later = body["request"].get("operationType") == "async"
    assert answer.status == (202 if later else 200)
    schema_of("JobAnswer" if later else "SyncAnswer").validate(answer.json())


@pytest.mark.parametrize("contract", ["documented", "lenient"])
@pytest.mark.parametrize(
    ("body", "encode"),
    [
        pytest.param(*example.values, encode, id=f"{encode.__name__}-{example.id}")
        for encode, content_type in (
            (urlencoded, "application/x-www-form-urlencoded"),
            (multipart, "multipart/form-data"),
        )
        for example in examples(content_type)
    ],
)
async def test_the_examples_of_forms_work(
    daemon: FakeDaemon,
    body: dict[str, Any],
    encode: Callable[[Mapping[str, str | list[str]]], tuple[str, bytes]],
    contract: Literal["documented", "lenient"],
) -> None:
    schema_of("SyncForm").validate(body)
    content_type, content = encode(body)
    app = create_app(daemon, HttpSettings(contract=contract))
    answer = await ask(app, "POST", "/sync", headers={**DOCUMENTED, "Content-Type": content_type}, body=content)
    assert answer.status == 200
    schema_of("SyncAnswer").validate(answer.json())
    assert answer.result["counts"]["indexed"] == len(answer.result["esSyncResponse"]) == 2


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
        from cdc_daemon.store.sync_jobs import SyncJob  # noqa: PLC0415

        FakeDaemon().service.parse_ids(object_type, ids)
        return SyncJob(id="1", kind="sync", object_type=object_type, total=len(ids))

    async def start_file(self, object_type: str, content: bytes, **_: Any) -> Any:
        from cdc_daemon.store.sync_jobs import SyncJob  # noqa: PLC0415

        FakeDaemon().service.parse_ids(object_type, [])
        return SyncJob(id="1", kind="sync", object_type=object_type, total=len(content.splitlines()))

    async def report(self, identity: str) -> Any:
        assert identity

    async def cancel(self, identity: str) -> Any:
        assert identity


def served(contract: Literal["documented", "lenient"], description: bytes) -> schemathesis.BaseSchema:
    """Return the schema that a fuzzer goes by, of an application that serves it and keeps a contract."""
    settings = LENIENT.model_copy(update={"contract": contract})

    async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer each request as a daemon of its own: the client gives each an event loop of its own."""
        if scope["path"] == "/openapi.yaml":
            await Response(description, media_type="application/yaml")(scope, receive, send)
            return
        daemon = FakeDaemon()
        daemon.jobs = FakeJobs()  # type: ignore[assignment]
        await create_app(daemon, settings)(scope, receive, send)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # /events is an answer without an end: tests/unit/http/routes/test_status.py
        return schemathesis.openapi.from_asgi("/openapi.yaml", fresh).exclude(path="/events")


LENIENT_SCHEMA = served("lenient", TEXT)
DOCUMENTED_SCHEMA = served("documented", yaml.safe_dump(documented(DESCRIPTION)).encode())


def check(case: schemathesis.Case[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=not_promised(case))


@pytest.mark.slow
@LENIENT_SCHEMA.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_fuzzer_finds_nothing(case: schemathesis.Case[Any]) -> None:
    check(case)


@pytest.mark.slow
@DOCUMENTED_SCHEMA.include(tag="sync", method="POST").parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_fuzzer_finds_nothing_in_the_documented_contract(case: schemathesis.Case[Any]) -> None:
    check(case)
