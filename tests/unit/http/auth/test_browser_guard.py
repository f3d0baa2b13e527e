"""What a page of another site can make a browser send, against a real server: nothing is read and nothing is done."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdc_daemon.config import AuthSettings, HttpSettings, TokenSettings
from cdc_http import HttpServer, StatusStream, create_app
from cdc_http.auth import key_set
from tests.unit.http.asking import rows
from tests.unit.http.fake import FakeDaemon

pytestmark = pytest.mark.slow

TOKEN = "a-token"
AUTH = AuthSettings(
    tokens=(
        TokenSettings(name="t", hash="sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest(), scopes=("sync", "admin")),
    )
)
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
OPEN = HttpSettings(contract="lenient", empty_ids="all")
GUARDED = HttpSettings(contract="lenient", auth=AUTH)
EVERYWHERE = HttpSettings(contract="lenient", auth=AUTH, host="0.0.0.0")

READ = ("/", "/status", "/events", "/metrics", "/livez", "/readyz", "/openapi.yaml", "/static/page.js")

Ask = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


@asynccontextmanager
async def serving(settings: HttpSettings) -> AsyncIterator[Ask]:
    """Give what sends one request on a connection of its own and returns status, headers and body."""
    daemon = FakeDaemon()
    events = StatusStream(daemon)
    server = HttpServer(create_app(daemon, settings, events=events), host="127.0.0.1", port=0)
    await server.start()

    async def ask(
        path: str,
        *,
        host: str | None = "127.0.0.1",
        method: str = "GET",
        headers: Mapping[str, str] = MappingProxyType({}),
        body: bytes = b"",
        version: str = "1.1",
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [
            f"{method} {path} HTTP/{version}",
            *([] if host is None else [f"Host: {host}"]),
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers.items()),
            *([f"Content-Length: {len(body)}"] if method != "GET" else []),
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            endless = b"text/event-stream" in head
            content = await (reader.readuntil(b"\n\n") if endless else reader.read())
        writer.close()
        first, *rest = head.decode().strip().split("\r\n")
        return (
            int(first.split()[1]),
            {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)},
            content,
        )

    try:
        yield ask
    finally:
        await events.close()
        await server.stop()


@pytest.mark.parametrize("settings", [OPEN, GUARDED, EVERYWHERE], ids=["open", "guarded", "everywhere"])
@pytest.mark.parametrize("path", READ)
async def test_a_name_that_was_bound_to_our_address_reads_nothing(settings: HttpSettings, path: str) -> None:
    """DNS rebinding: the page's own name leads to the daemon, so for the browser it is the page's own server."""
    async with serving(settings) as ask:
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"):
            status, headers, body = await ask(path, host=host)
            assert status == 400, host
            assert "http.allowed_hosts" in json.loads(body)["error"]
            assert "location" not in headers


@pytest.mark.parametrize("host", ["", "a b", "[::1", "user@127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "evil.example."])
async def test_a_host_that_is_none(host: str) -> None:
    async with serving(OPEN) as ask:
        assert (await ask("/status", host=host))[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]:8080",
        "10.244.1.7:9808",
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "cdc.localhost:8080",
        "cdc-daemon:9808",
        "cdc-daemon.search.svc:9808",
        "cdc-daemon.search.svc.cluster.local:9808",
        "host.docker.internal:8080",
        socket.gethostname(),
    ],
)
async def test_names_that_no_stranger_can_own_are_answered(host: str) -> None:
    """Probes of the kubelet carry the pod's address, callers the name of a Service."""
    for settings in (OPEN, EVERYWHERE):
        async with serving(settings) as ask:
            for path in ("/livez", "/status"):
                assert (await ask(path, host=host))[0] == 200


async def test_a_request_without_a_host_comes_from_no_browser() -> None:
    async with serving(OPEN) as ask:
        assert (await ask("/livez", host=None, version="1.0"))[0] == 200


async def test_the_host_that_is_listened_on_is_answered() -> None:
    async with serving(HttpSettings(host="cdc.example.org", auth=AUTH)) as ask:
        assert (await ask("/status", host="cdc.example.org"))[0] == 200


async def test_hosts_that_are_allowed() -> None:
    async with serving(HttpSettings(allowed_hosts=("cdc.example.org", "*.Search.example"))) as ask:
        for host, status in [
            ("cdc.example.org:443", 200),
            ("CDC.example.org", 200),
            ("a.search.example", 200),
            ("10.0.0.1:8080", 200),
            ("cdc-daemon", 400),
            ("localhost", 400),
            ("www.cdc.example.org", 400),
            ("example.org", 400),
        ]:
            assert (await ask("/status", host=host))[0] == status, host
    async with serving(HttpSettings(allowed_hosts=("*",))) as ask:
        assert (await ask("/status", host="anything.example"))[0] == 200


@pytest.mark.parametrize("name", ["*example.org", "a.*.org", "", "cdc:8080", "https://cdc", "a/b", "a b", "**"])
def test_an_allowed_host_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="expected names such as"):
        HttpSettings(allowed_hosts=(name,))


async def test_a_token_is_as_good_as_a_name() -> None:
    """A page that was bound to our address has none."""
    async with serving(EVERYWHERE) as ask:
        headers = {"Content-Type": "application/json", **SHOWN}
        body = json.dumps(rows("user", "u")).encode()
        for path in ("/sync", "/admin/pause"):
            assert (await ask(path, host="cdc.example.org", method="POST", headers=headers, body=body))[0] == 200
        assert (await ask("/status", host="cdc.example.org", headers=SHOWN))[0] == 200
        wrong = {**headers, "Authorization": "Bearer wrong"}
        assert (await ask("/sync", host="cdc.example.org", method="POST", headers=wrong, body=body))[0] == 400


async def test_where_nobody_has_a_token_none_is_as_good_as_a_name() -> None:
    async with serving(OPEN) as ask:
        assert (await ask("/status", host="evil.example", headers={"Authorization": "Bearer none"}))[0] == 400


WHOLE_TABLE = json.dumps(rows("user")).encode()
SITES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://[bad"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
]
FORMS = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "Text/Plain;charset=utf-8",
]
BROWSERS = [
    {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:60.0) Gecko/20100101 Firefox/60.0"},
    {"Origin": "http://127.0.0.1"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Mode": "navigate"},
    {"Referer": "http://127.0.0.1/"},
]


@pytest.mark.parametrize("site", SITES)
async def test_a_page_of_another_site_starts_nothing(site: dict[str, str]) -> None:
    headers = {"Content-Type": "application/json", **site}
    async with serving(OPEN) as ask:
        status, _, body = await ask("/sync", method="POST", headers=headers, body=WHOLE_TABLE)
        assert status == 403
        assert json.loads(body)["params"]["err"] == "FORBIDDEN"
        status, _, body = await ask("/admin/pause", method="POST", headers=headers)
        assert status == 403
        assert "another site" in json.loads(body)["error"]
        assert (await ask("/admin/dead-letters/1", method="DELETE", headers=headers))[0] == 403
        assert (await ask("/status", headers=site))[0] == 200, "nothing is done, and a browser shows it to nobody"


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize("browser", BROWSERS)
async def test_a_form_of_a_browser_starts_nothing(browser: dict[str, str], content_type: str) -> None:
    headers = {"Content-Type": content_type, **browser}
    async with serving(OPEN) as ask:
        status, _, body = await ask("/sync", method="POST", headers=headers, body=b"request[objectType]=user")
        assert (status, json.loads(body)["params"]["err"]) == (403, "FORBIDDEN")


async def test_a_token_is_as_good_as_an_origin() -> None:
    async with serving(GUARDED) as ask:
        body = json.dumps(rows("user", "u")).encode()
        form = b"request[objectType]=user&request[objectIds][]=u"
        for site in SITES:
            headers = {"Content-Type": "application/json", **site, **SHOWN}
            assert (await ask("/sync", method="POST", headers=headers, body=body))[0] == 200
        for browser in BROWSERS:
            headers = {"Content-Type": FORMS[0], **browser, **SHOWN}
            assert (await ask("/sync", method="POST", headers=headers, body=form))[0] == 200
        wrong = {"Content-Type": "application/json", **SITES[0], "Authorization": "Bearer wrong"}
        assert (await ask("/sync", method="POST", headers=wrong, body=body))[0] == 403


async def test_our_own_page_and_programs_are_let_in() -> None:
    body = json.dumps(rows("user", "u")).encode()
    async with serving(OPEN) as ask:
        for headers in (
            {},
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://127.0.0.1"},
            {"Origin": "https://127.0.0.1"},
            {"User-Agent": "curl/8.5.0"},
        ):
            known = {"Content-Type": "application/json", **headers}
            assert (await ask("/sync", method="POST", headers=known, body=body))[0] == 200, headers
        form = b"request[objectType]=user&request[objectIds][]=u"
        headers = {"Content-Type": FORMS[0], "User-Agent": "curl/8.5.0"}
        assert (await ask("/sync", method="POST", headers=headers, body=form))[0] == 200


async def test_a_token_that_nobody_can_judge_is_not_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    async def missing(*_: object) -> Any:
        raise key_set.KeysUnavailableError("no answer")

    monkeypatch.setattr("cdc_http.auth.tokens.JsonWebTokens.find", missing)
    jwt = AuthSettings.model_validate({"jwt": {"key_set_url": "http://127.0.0.1:1/keys"}})
    async with serving(HttpSettings(contract="lenient", auth=jwt)) as ask:
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        assert (await ask("/status", host="cdc.example.org", headers=headers))[0] == 503
        assert (await ask("/sync", method="POST", headers={**headers, **SITES[0]}))[0] == 503


@pytest.mark.parametrize(
    "path", ["/status/", "/sync/", "/livez/", "/admin/pause/", "//evil.example", "//evil.example/"]
)
async def test_nobody_is_sent_elsewhere(path: str) -> None:
    async with serving(OPEN) as ask:
        status, headers, _ = await ask(path, host="cdc-daemon")
        assert status in {403, 404, 405}
        assert "location" not in headers


@pytest.mark.parametrize("path", [*READ, "/nothing", "/sync", "/admin/config"])
async def test_no_answer_is_taken_for_another_type(path: str) -> None:
    async with serving(OPEN) as ask:
        for host in ("127.0.0.1", "evil.example"):
            _, headers, _ = await ask(path, host=host)
            assert headers["x-content-type-options"] == "nosniff"


async def test_the_log_says_why() -> None:
    async with serving(OPEN) as ask:
        with capture_logs() as events:
            await ask("/sync", host="evil.example", method="POST")
            await ask("/sync", method="POST", headers=SITES[0])
    assert [(event["refused"], event["status"]) for event in events] == [("host", 400), ("origin", 403)]
    assert events[0]["host"] == "evil.example"
