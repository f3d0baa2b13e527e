"""Who gets in, and who does not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientTimeout, web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.requests import Request
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from cdc_daemon.config import AuthSettings, HttpSettings, JwtSettings, TokenSettings
from cdc_daemon.model.errors import ConfigError
from cdc_http import create_app
from cdc_http.auth import key_set
from cdc_http.auth.authorization import caller_name, set_caller
from cdc_http.auth.tokens import Caller
from tests.unit.http.asking import Answer, ask, ask_json, rows
from tests.unit.http.fake import FakeDaemon

SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = "known-beforehand"
HASH = "sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def app_with(auth: Mapping[str, Any] | AuthSettings, **more: Any) -> ASGIApp:
    settings = auth if isinstance(auth, AuthSettings) else AuthSettings.model_validate(auth)
    return create_app(FakeDaemon(), HttpSettings(contract="lenient", auth=settings, **more))


async def enter(app: ASGIApp, authorization: str | None) -> Answer:
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    return await ask_json(app, rows("user", "u"), headers=headers)


async def act(app: ASGIApp, token: str) -> int:
    return (await ask(app, "POST", "/admin/pause", headers={"Authorization": f"Bearer {token}"})).status


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any) -> str:
    content = {"exp": int(time.time()) + 60, "iss": "login", "aud": "cdc-daemon", **claims}
    kept = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def key_set_of(**keys: Any) -> bytes:
    listed = []
    for kid, key in keys.items():
        kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        listed.append({**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
    return json.dumps({"keys": listed}).encode()


TOKENS = AuthSettings(tokens=(TokenSettings(name="t", hash=HASH),))
SHARED = {"jwt": {"secret": SECRET, "issuer": "login", "audience": "cdc-daemon"}}


async def test_a_known_token() -> None:
    app = app_with(TOKENS)
    assert (await enter(app, f"Bearer {TOKEN}")).status == 200
    assert (await enter(app, f"bearer  {TOKEN}")).status == 200


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic a2E6a2E=", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
async def test_anything_else_is_refused(authorization: str | None) -> None:
    answer = await enter(app_with(TOKENS), authorization)
    assert answer.error[:2] == (401, "UNAUTHORIZED")
    assert answer.json()["responseCode"] == "UNAUTHORIZED"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="cdc-daemon"')
    assert answer.result == {}


async def test_strangers_are_refused_before_anything_is_said_of_their_request() -> None:
    answer = await ask(app_with(TOKENS), "POST", "/sync", headers={"Content-Type": "image/png"}, body=b"x" * 100)
    assert answer.status == 401


async def test_a_token_s_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    app = app_with(AuthSettings(tokens=(TokenSettings(name="t", file=file),)))
    assert (await enter(app, "Bearer first")).status == 200
    file.write_text("second token\n")
    assert (await enter(app, "Bearer first")).status == 401
    assert (await enter(app, "Bearer second token")).status == 200
    file.unlink()
    assert (await enter(app, "Bearer second token")).status == 401


def test_a_file_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the token of t"):
        app_with(AuthSettings(tokens=(TokenSettings(name="t", file=tmp_path / "none"),)))
    with pytest.raises(ConfigError, match="expected a set of keys"):
        app_with({"jwt": {"key_set_file": tmp_path / "none"}})
    (tmp_path / "empty").write_text('{"keys": []}')
    with pytest.raises(ConfigError, match="no key that verifies"):
        app_with({"jwt": {"key_set_file": tmp_path / "empty"}})


async def test_acting_needs_a_scope_of_its_own() -> None:
    app = app_with(
        AuthSettings(
            tokens=(
                TokenSettings(name="syncs", hash=HASH),
                TokenSettings(name="acts", hash="sha256:" + hashlib.sha256(b"acts").hexdigest(), scopes=("admin",)),
            )
        )
    )
    assert (await act(app, TOKEN), await act(app, "acts"), await act(app, "no")) == (403, 200, 401)
    assert (await enter(app, "Bearer acts")).status == 403


async def test_nobody_acts_where_nobody_is_known() -> None:
    app = create_app(FakeDaemon())
    assert await act(app, "any") == 403
    assert (await ask(app, "GET", "/admin/dead-letters")).status == 403


async def test_a_signed_token() -> None:
    assert (await enter(app_with(SHARED), f"Bearer {signed()}")).status == 200


def forged(algorithm: str) -> str:
    def part(content: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    claims = {"exp": int(time.time()) + 60, "iss": "login", "aud": "cdc-daemon"}
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


@pytest.mark.parametrize(
    "token",
    [
        signed(exp=int(time.time()) - 3600),
        signed(exp=None),
        signed(nbf=int(time.time()) + 3600),
        signed(aud="another"),
        signed(aud=None),
        signed(iss="another"),
        signed(iss=None),
        signed("another secret of 32 bytes and so"),
        signed(algorithm="HS384", key=SECRET * 2),
        forged("none"),
        forged("None"),
        forged("HS256"),
        signed()[:-4] + "AAAA",
        "a.b.c",
        "..",
        "x" * 100_000,
    ],
)
async def test_a_token_that_is_not_taken(token: str) -> None:
    assert (await enter(app_with(SHARED), f"Bearer {token}")).status == 401


async def test_the_leeway() -> None:
    late = signed(exp=int(time.time()) - 20)
    assert (await enter(app_with(SHARED), f"Bearer {late}")).status == 200
    strict = {"jwt": {**SHARED["jwt"], "leeway": 0.0}}
    assert (await enter(app_with(strict), f"Bearer {late}")).status == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 403),
        ({"groups": ["others"]}, 403),
        ({"groups": ["others", "search"]}, 200),
        ({"groups": "search"}, 200),
        ({"groups": "profile search"}, 200),
        ({"groups": 5}, 403),
    ],
)
async def test_required_claims(claims: Mapping[str, Any], status: int) -> None:
    app = app_with({"jwt": {**SHARED["jwt"], "claims": {"groups": ["search", "ops"]}}})
    assert (await enter(app, f"Bearer {signed(**claims)}")).status == status


async def test_claims_that_allow_to_act() -> None:
    auth = {"jwt": {**SHARED["jwt"], "admin_claims": {"role": ["operator"]}}}
    assert await act(app_with(auth), signed(role="operator")) == 200
    assert await act(app_with(auth), signed(role="reader")) == 403
    assert await act(app_with(SHARED), signed(role="operator")) == 403


async def test_a_key_set_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set_of(one=RSA_KEY, two=EC_KEY))
    app = app_with({"jwt": {"key_set_file": file, "audience": "cdc-daemon"}})
    for token, status in [
        (signed(RSA_KEY, "RS256", "one"), 200),
        (signed(EC_KEY, "ES256", "two"), 200),
        (signed(EC_KEY, "ES256"), 200),
        (signed(RSA_KEY, "RS256", "two"), 401),
        (signed(RSA_KEY, "RS256", "three"), 401),
        (signed(OTHER_RSA_KEY, "RS256", "one"), 401),
        (signed(RSA_KEY, "PS256", "one"), 401),
        (signed(SECRET, "HS256", "one"), 401),
    ]:
        assert (await enter(app, f"Bearer {token}")).status == status, jwt.get_unverified_header(token)
    file.write_bytes(key_set_of(three=OTHER_RSA_KEY))
    assert (await enter(app, f"Bearer {signed(RSA_KEY, 'RS256', 'one')}")).status == 401
    assert (await enter(app, f"Bearer {signed(OTHER_RSA_KEY, 'RS256', 'three')}")).status == 200
    file.write_bytes(b"{")
    assert (await enter(app, f"Bearer {signed(OTHER_RSA_KEY, 'RS256', 'three')}")).status == 503


class Publisher:
    """A server that publishes a key set."""

    def __init__(self) -> None:
        self.content = b""
        self.status = 200
        self.asked = 0
        self.url = ""
        self.rest = asyncio.Event()
        self.rest.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the first half of the content at once, and the other half when `rest` is set."""
        self.asked += 1
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        await response.write(self.content[: len(self.content) // 2])
        await self.rest.wait()
        await response.write(self.content[len(self.content) // 2 :])
        return response


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    app = web.Application()
    app.router.add_get("/keys", publisher.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    publisher.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield publisher
    await runner.cleanup()


async def test_a_key_set_behind_a_url(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    publisher.status = 500
    answer = await enter(app, f"Bearer {signed(RSA_KEY, 'RS256', 'one', aud=None)}")
    assert answer.error[:2] == (503, "SERVICE_UNAVAILABLE")
    publisher.status = 200
    publisher.content = key_set_of(one=RSA_KEY)
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 0.0)
    one = f"Bearer {signed(RSA_KEY, 'RS256', 'one')}"
    assert {(await enter(app, one)).status for _ in range(3)} == {200}
    assert publisher.asked == 2
    publisher.content = key_set_of(two=OTHER_RSA_KEY)
    assert (await enter(app, f"Bearer {signed(OTHER_RSA_KEY, 'RS256', 'two')}")).status == 200
    assert (await enter(app, one)).status == 401
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 60.0)
    asked = publisher.asked
    await asyncio.gather(*(enter(app, f"Bearer {signed(RSA_KEY, 'RS256', str(n))}") for n in range(20)))
    assert publisher.asked == asked


async def test_a_signer_that_is_away_is_named_without_its_secrets(publisher: Publisher) -> None:
    publisher.status = 500
    app = app_with({"jwt": {"key_set_url": f"{publisher.url}?api-code=hunter2#hunter2"}})
    with capture_logs() as events:
        assert (await enter(app, f"Bearer {signed(RSA_KEY, 'RS256', 'one')}")).status == 503
    told = [event for event in events if event["event"] == "http.keys_unavailable"]
    assert [event["url"] for event in told] == [publisher.url]
    assert "hunter2" not in str(events)


async def test_a_login_in_a_signers_address_is_left_out(publisher: Publisher) -> None:
    publisher.status = 500
    keys = key_set.KeySetUrl(publisher.url.replace("//", "//somebody:hunter2@"))
    with capture_logs() as events, pytest.raises(key_set.KeysUnavailableError):
        await keys.find("one")
    assert [event["url"] for event in events] == [publisher.url]


async def test_a_key_set_that_comes_in_pieces(publisher: Publisher) -> None:
    publisher.content = key_set_of(one=RSA_KEY, two=EC_KEY)
    publisher.rest.clear()
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    entering = asyncio.create_task(enter(app, f"Bearer {signed(EC_KEY, 'ES256', 'two')}"))
    async with asyncio.timeout(30):
        while not publisher.asked:  # noqa: ASYNC110 -- nothing tells of it but what it does
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        publisher.rest.set()
        assert (await entering).status == 200


async def test_who_has_a_known_key_waits_for_no_signer(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    known = f"Bearer {signed(RSA_KEY, 'RS256', 'one')}"
    publisher.content = key_set_of(one=RSA_KEY)
    assert (await enter(app, known)).status == 200
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 0.0)
    publisher.rest.clear()
    strangers = [asyncio.create_task(enter(app, f"Bearer {signed(EC_KEY, 'ES256', str(n))}")) for n in range(20)]
    async with asyncio.timeout(30):
        while publisher.asked < 2:  # noqa: ASYNC110 -- nothing tells of it but what it does
            await asyncio.sleep(0.01)
        assert (await enter(app, known)).status == 200
        assert not any(stranger.done() for stranger in strangers)
        monkeypatch.setattr(key_set, "RETRY_SECONDS", 60.0)
        publisher.rest.set()
        assert {(await stranger).status for stranger in strangers} == {401}
    assert publisher.asked == 2


async def test_old_keys_are_asked_for_again_and_a_signer_that_is_away_keeps_nobody_waiting(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    one, two = (f"Bearer {signed(RSA_KEY, 'RS256', name)}" for name in ("one", "two"))
    publisher.content = key_set_of(one=RSA_KEY)
    assert (await enter(app, one)).status == 200
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(key_set, "REFRESH_SECONDS", 0.0)
    publisher.status = 500
    assert (await enter(app, one)).status == 200, "a signer that is away locks nobody out"
    publisher.status = 200
    publisher.content = key_set_of(two=RSA_KEY)
    publisher.rest.clear()
    monkeypatch.setattr(key_set, "_TIMEOUT", ClientTimeout(total=None))
    asked = publisher.asked
    async with asyncio.timeout(30):
        assert (await enter(app, one)).status == 200, "nor does it keep anybody waiting"
        while publisher.asked == asked:  # noqa: ASYNC110 -- nothing tells of it but what it does
            await asyncio.sleep(0.01)
        publisher.rest.set()
        assert (await enter(app, two)).status == 200
        assert (await enter(app, one)).status == 401, "it was withdrawn"


async def test_a_key_set_without_an_end_is_not_taken(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.content = key_set_of(one=RSA_KEY)
    monkeypatch.setattr(key_set, "_LARGEST", len(publisher.content) - 1)
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    assert (await enter(app, f"Bearer {signed(RSA_KEY, 'RS256', 'one')}")).status == 503


@pytest.mark.parametrize("member", ["alg", "kid", "kty"])
def test_a_key_that_is_none_takes_no_other_with_it(member: str) -> None:
    keys = json.loads(key_set_of(one=RSA_KEY, two=RSA_KEY))["keys"]
    keys[0][member] = ["RS256"]
    assert key_set.parse_keys(json.dumps({"keys": keys}).encode()).keys() == {"two"}


async def test_short_rsa_keys_are_not_used(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    file = tmp_path / "keys.json"
    file.write_bytes(key_set_of(short=short, one=RSA_KEY))
    with capture_logs() as events:
        app = app_with({"jwt": {"key_set_file": file}})
    assert [event["kid"] for event in events if event["event"] == "http.key_too_short"] == ["short"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = signed(short, "RS256", "short", aud=None)
    assert (await enter(app, f"Bearer {token}")).status == 401
    assert (await enter(app, f"Bearer {signed(RSA_KEY, 'RS256', 'one', aud=None)}")).status == 200
    file.write_bytes(key_set_of(short=short))
    with pytest.raises(ConfigError, match="2,048 bits"):
        app_with({"jwt": {"key_set_file": file}})


async def test_a_new_key_while_the_signer_is_missing_is_no_forgery(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with({"jwt": {"key_set_url": publisher.url}})
    one, new = f"Bearer {signed(RSA_KEY, 'RS256', 'one')}", f"Bearer {signed(OTHER_RSA_KEY, 'RS256', 'new')}"
    publisher.content = key_set_of(one=RSA_KEY)
    assert (await enter(app, one)).status == 200
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 0.0)
    publisher.status = 500
    answer = await enter(app, new)
    assert answer.error[:2] == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert (await enter(app, one)).status == 200
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 60.0)
    assert (await enter(app, new)).status == 503, "nobody may be asked at present"
    monkeypatch.setattr(key_set, "RETRY_SECONDS", 0.0)
    publisher.status = 200
    assert (await enter(app, new)).status == 401, "the signer does not know it"
    publisher.content = key_set_of(one=RSA_KEY, new=OTHER_RSA_KEY)
    assert (await enter(app, new)).status == 200


def test_a_key_set_may_begin_with_a_byte_order_mark() -> None:
    assert key_set.parse_keys(b"\xef\xbb\xbf" + key_set_of(one=RSA_KEY)).keys() == {"one"}


def test_configurations_that_could_be_got_round() -> None:
    for wrong in [
        {"secret": SECRET, "algorithms": ["RS256"]},
        {"key_set_url": "https://x/k", "algorithms": ["HS256"]},
        {"secret": "short"},
        {"secret": SECRET, "algorithms": ["HS512"]},
        {"secret": SECRET, "algorithms": ["none"]},
        {"secret": SECRET, "key_set_url": "https://x/k"},
        {},
    ]:
        with pytest.raises(ValueError, match="validation error"):
            JwtSettings.model_validate(wrong)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ValueError, match="anybody who can reach it"):
            HttpSettings(host=host)
        assert HttpSettings(host=host, auth=TOKENS).auth.required
        assert HttpSettings(host=host, port=None).listens is False
    for host in ("127.0.0.1", "::1", "localhost", "127.8.0.1"):
        assert HttpSettings(host=host).listens


def test_a_caller_is_named_by_their_token_and_without_one_as_nobody() -> None:
    request = Request({"type": "http", "headers": []})
    assert caller_name(request) == "unauthenticated local"
    set_caller(request, Caller("anna", frozenset({"admin"})))
    assert caller_name(request) == "anna"
