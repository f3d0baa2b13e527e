"""Signatures for AWS: against documented vectors, and an endpoint that checks them. `make aws-test` runs it."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch
from cdc_daemon.config import ElasticsearchSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.search import ElasticsearchOptions, make_engine
from cdc_daemon.search.engines import aws
from cdc_daemon.search.engines.aws import AwsCredentialsError, AwsOptions, AwsSigner
from cdc_daemon.search.engines.client import make_transport
from cdc_daemon.search.failure import EngineError
from tests.unit.search.engines.aws_endpoint import ACCESS, REGION, SECRET, AwsEndpoint, signature

pytest.importorskip("botocore", reason="the extra aws is not installed: make aws-test")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[AwsEndpoint, str]]:
    endpoint = AwsEndpoint()
    async with endpoint.serving() as url:
        yield endpoint, url


def options(*urls: str) -> ElasticsearchOptions:
    return ElasticsearchOptions(urls, flavor="auto", aws=AwsOptions(REGION))


@pytest.mark.parametrize(
    ("query", "service", "region", "headers", "expected"),
    [
        # `get-vanilla` and `get-vanilla-query-order-key-case` of AWS's test suite for Signature Version 4.
        ("", "service", "us-east-1", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "Param2=value2&Param1=value1",
            "service",
            "us-east-1",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        # The example of AWS's documentation: ListUsers of IAM.
        (
            "Action=ListUsers&Version=2010-05-08",
            "iam",
            "us-east-1",
            {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
)
def test_the_verifier_stands_aws_own_vectors(
    *, query: str, service: str, region: str, headers: dict[str, str], expected: str
) -> None:
    host = "iam.amazonaws.com" if service == "iam" else "example.amazonaws.com"
    every = {"host": host, "x-amz-date": "20150830T123600Z", **headers}
    found = signature(
        method="GET",
        path="/",
        query=query,
        headers=every,
        signed=";".join(sorted(every)),
        payload=b"",
        scope=f"20150830/{region}/{service}/aws4_request",
        secret=SECRET,
    )
    assert found == expected


async def test_the_signer_stands_aws_own_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore import auth  # noqa: PLC0415  the extra

    monkeypatch.setattr(auth, "get_current_datetime", lambda *_a, **_n: dt.datetime(2015, 8, 30, 12, 36, tzinfo=dt.UTC))
    monkeypatch.setattr(aws, "SERVICE", "service")
    signer = AwsSigner(AwsOptions("us-east-1"))
    url = URL("https://example.amazonaws.com/?Param2=value2&Param1=value1", encoded=True)
    found = (await signer.sign("GET", url, None))["Authorization"]
    assert found.endswith("Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", None),
        ("/a-b/_doc/1?refresh=wait_for", b'{"a": 1}'),
        ("/%3Cusers-%7Bnow%2Fd%7D%3E/_doc/a%2Fb%20c%2B%25?routing=a%2Bb%26c%3D%20d", b"{}"),
        ("/users*,-old/_search?filter_path=items.*.error,took&expand_wildcards=all&pretty", b"{}"),
        ("/users/_doc/%C3%A9:~'()!@$;", b"{}"),
        ("/_bulk?b=2&a=1&b=1&empty=", b'{"index":{}}\n' * 100),
        ("/_bulk", b"x" * (2 << 20)),  # streamed, and signed in a thread
    ],
)
async def test_what_is_sent_is_what_is_signed(
    endpoint: tuple[AwsEndpoint, str], target: str, body: bytes | None
) -> None:
    served, url = endpoint
    transport = make_transport(options(url))
    try:
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        answer = await transport.perform_request("POST" if body else "GET", target, headers=headers, body=body)
    finally:
        await transport.close()
    assert answer.meta.status == 200, answer.body
    assert served.seen[0][2] == (body or b"")


async def test_a_compressed_body_is_signed_as_it_is_sent(endpoint: tuple[AwsEndpoint, str]) -> None:
    served, url = endpoint
    transport = make_transport(options(url))
    for node in transport.node_pool.all():
        node._http_compress = True
    try:
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        answer = await transport.perform_request("POST", "/_bulk", headers=headers, body=b"abc")
    finally:
        await transport.close()
    assert answer.meta.status == 200, answer.body
    assert gzip.decompress(served.seen[0][2]) == b"abc"


async def test_the_engine_is_found_and_a_session_token_is_sent(
    endpoint: tuple[AwsEndpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, url = endpoint
    served.token = "a-session-token"
    monkeypatch.setenv("AWS_SESSION_TOKEN", served.token)
    engine = make_engine(options(url))
    try:
        product = await engine.identify()
    finally:
        await engine.close()
    assert (product.name, product.version) == ("OpenSearch", "2.19.5")


async def test_each_attempt_has_a_signature_of_its_own_for_its_node(endpoint: tuple[AwsEndpoint, str]) -> None:
    served, url = endpoint
    other = AwsEndpoint()
    async with other.serving() as second:
        transport = make_transport(options(url, second))
        try:
            for _ in range(4):
                answer = await transport.perform_request("GET", "/", headers={"accept": "application/json"})
                assert answer.meta.status == 200
        finally:
            await transport.close()
    assert len(served.seen) == len(other.seen) == 2
    assert not set(served.signatures) & set(other.signatures)


async def test_a_redirect_is_not_followed_with_a_signature(endpoint: tuple[AwsEndpoint, str]) -> None:
    served, url = endpoint
    other = AwsEndpoint()
    async with other.serving() as second:
        served.redirect = f"{second}/"
        engine = make_engine(options(url))
        try:
            with pytest.raises(EngineError) as error:
                await engine.identify()
        finally:
            await engine.close()
    assert "found a redirect to" in error.value.failure.reason
    assert not error.value.failure.sent
    assert not other.signatures


@pytest.mark.parametrize(("ahead", "told"), [(-3600, "ahead of"), (3600, "behind")])
async def test_a_wrong_clock_is_said(endpoint: tuple[AwsEndpoint, str], ahead: float, told: str) -> None:
    served, url = endpoint
    served.clock = ahead
    engine = make_engine(options(url))
    try:
        with pytest.raises(EngineError) as error:
            await engine.identify()
    finally:
        await engine.close()
    found = re.match(rf"the clock of this machine is ([\d,]+) s {told} that of AWS", error.value.failure.reason)
    assert found is not None, error.value.failure.reason
    seconds = int(found.group(1).replace(",", ""))
    assert abs(seconds - abs(ahead)) < 300, "the answer's date has whole seconds, and the test takes time itself"
    assert not error.value.failure.unanswered


async def test_a_wrong_key_and_a_missing_right_are_told_apart(endpoint: tuple[AwsEndpoint, str]) -> None:
    served, url = endpoint
    served.secret = "another"
    engine = make_engine(options(url))
    try:
        with pytest.raises(EngineError) as error:
            await engine.identify()
        assert "AWS refused the signature" in error.value.failure.reason
        served.secret = SECRET
        await engine.identify()
        served.denied = "User: arn:aws:iam::1:user/a is not authorized to perform: es:ESHttpGet"
        with pytest.raises(EngineError) as error:
            await engine.indices_of("a")
    finally:
        await engine.close()
    assert (error.value.failure.status, error.value.failure.error_type) == (403, "security_exception")
    assert "not authorized to perform: es:ESHttpGet" in error.value.failure.reason
    assert SECRET not in str(error.value)


async def test_credentials_are_renewed_and_looked_at_in_a_thread(
    endpoint: tuple[AwsEndpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role's credentials expire: new ones are used before that, and no request waits in the event loop for them."""
    from botocore.credentials import RefreshableCredentials  # noqa: PLC0415  the extra

    made: list[threading.Thread] = []

    def fetch() -> dict[str, str]:
        made.append(threading.current_thread())
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)  # within the time in which botocore renews them
        return {
            "access_key": ACCESS,
            "secret_key": SECRET,
            "token": f"t{len(made)}",
            "expiry_time": soon.isoformat(),
        }

    credentials = RefreshableCredentials.create_from_metadata(fetch(), refresh_using=fetch, method="iam-role")
    monkeypatch.setattr(aws, "CHECK_INTERVAL", 0.0)
    signer = AwsSigner(AwsOptions(REGION))
    signer._session = type("Found", (), {"get_credentials": lambda _self: credentials})()
    tokens = [(await signer.sign("GET", URL("http://h/"), None))["X-Amz-Security-Token"] for _ in range(2)]
    assert tokens == ["t2", "t3"]
    assert all(thread is not threading.main_thread() for thread in made[1:])
    assert await signer.source() == "iam-role"


async def test_without_credentials(endpoint: tuple[AwsEndpoint, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    _, url = endpoint
    with pytest.raises(AwsCredentialsError):
        await AwsSigner(AwsOptions(REGION)).source()
    engine = make_engine(options(url))
    try:
        with pytest.raises(EngineError) as error:
            await engine.identify()
    finally:
        await engine.close()
    assert "no AWS credentials" in error.value.failure.reason
    assert not error.value.failure.sent


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        AwsSigner(AwsOptions(REGION, "nobody"))


async def test_check_says_where_the_credentials_were_found(
    endpoint: tuple[AwsEndpoint, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, url = endpoint
    settings = ElasticsearchSettings.model_validate({"hosts": [url], "aws": {"region": REGION}})
    findings = {each.name: each for each in await check_elasticsearch(settings, {})}
    assert findings["elasticsearch.aws"].status == "ok"
    assert "found in: env" in findings["elasticsearch.aws"].found
    assert not any(SECRET in str(each) or ACCESS in str(each) for each in findings.values())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "credentials").write_text(
        f"[p]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n", encoding="utf-8"
    )
    settings = ElasticsearchSettings.model_validate({"hosts": [url], "aws": {"region": REGION, "profile": "p"}})
    findings = {each.name: each for each in await check_elasticsearch(settings, {})}
    assert "found in: shared-credentials-file" in findings["elasticsearch.aws"].found
    settings = ElasticsearchSettings.model_validate({"hosts": [url], "aws": {"region": REGION}})
    (found,) = [each for each in await check_elasticsearch(settings, {}) if each.name == "elasticsearch.aws"]
    assert found.status == "fail"
    assert found.mend


async def test_many_requests_look_at_the_credentials_once(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = AwsSigner(AwsOptions(REGION))
    looked: list[int] = []
    usual = signer._freeze

    def freeze() -> Any:
        looked.append(1)
        return usual()

    monkeypatch.setattr(signer, "_freeze", freeze)
    await asyncio.gather(*(signer.sign("GET", URL("http://h/"), None) for _ in range(50)))
    assert len(looked) == 1
    signer.forget()
    await signer.sign("GET", URL("http://h/"), None)
    assert len(looked) == 2
