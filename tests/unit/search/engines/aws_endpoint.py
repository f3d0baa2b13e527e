"""An endpoint that checks signatures as AWS documents them, written without botocore.

The steps are those of docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from calendar import timegm
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from urllib.parse import quote, unquote

from aiohttp import web

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"


def signature(
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed: str,
    payload: bytes,
    scope: str,
    secret: str,
) -> str:
    """Return the signature of a request. `path` and `query` are as on the wire, `headers` have lower-case names."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    encoded = sorted((_encode(unquote(name)), _encode(unquote(value))) for name, value in pairs)
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in encoded),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")),
            "",
            signed,
            hashlib.sha256(payload).hexdigest(),
        )
    )
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


class AwsEndpoint:
    """A domain of OpenSearch that answers only requests with the right signature. `clock` is its error in seconds."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.denied: str | None = None
        self.redirect: str | None = None
        self.secret = SECRET
        self.token: str | None = None
        self.seen: list[tuple[str, str, bytes]] = []
        self.signatures: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Check a request's signature, and answer like OpenSearch or like AWS."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.redirect is not None:
            return web.Response(status=301, headers={"Location": self.redirect})
        problem = self._problem(request, headers, request.raw_path, body)
        date = {"Date": formatdate(time.time() + self.clock, usegmt=True)}
        if problem is not None:
            return web.json_response({"message": problem}, status=403, headers=date)
        self.seen.append((request.method, request.raw_path, body))
        if request.path == "/":
            page = {"version": {"distribution": "opensearch", "number": "2.19.5"}, "tagline": "The OpenSearch Project"}
            return web.json_response(page, headers=date)
        return web.json_response({"acknowledged": True, "errors": False, "items": [], "took": 1}, headers=date)

    def _problem(self, request: web.Request, headers: Mapping[str, str], raw: str, body: bytes) -> str | None:
        if self.denied is not None:
            return self.denied
        kind, _, rest = headers.get("authorization", "").partition(" ")
        if kind != "AWS4-HMAC-SHA256":
            return "Missing Authentication Token"
        parts = dict(each.strip().split("=", 1) for each in rest.split(","))
        access, _, scope = parts["Credential"].partition("/")
        sent_at = timegm(time.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(time.time() + self.clock - sent_at) > 300:
            return f"Signature expired: {headers['x-amz-date']} is now earlier than 20300101T000000Z"
        if headers.get("x-amz-security-token") != self.token:
            return "The security token included in the request is invalid"
        path, _, query = raw.partition("?")
        expected = signature(
            method=request.method,
            path=path,
            query=query,
            headers=headers,
            signed=parts["SignedHeaders"],
            payload=body,
            scope=scope,
            secret=self.secret,
        )
        self.signatures.append(parts["Signature"])
        wanted = "host" in parts["SignedHeaders"].split(";") and scope.endswith(f"/{REGION}/es/aws4_request")
        if access != ACCESS or not wanted or not hmac.compare_digest(expected, parts["Signature"]):
            return "The request signature we calculated does not match the signature you provided."
        return None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve during a block; give the URL."""
        runner = web.ServerRunner(web.Server(self._handle, auto_decompress=False))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request._client_max_size = 1 << 30
        return await self.answer(request)  # type: ignore[arg-type]  # it has what is used of a request
