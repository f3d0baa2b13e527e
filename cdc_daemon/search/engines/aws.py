"""Requests signed for AWS (Signature Version 4), for Amazon OpenSearch Service. It needs botocore, the extra `aws`."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from yarl import URL

from cdc_daemon.model.errors import ConfigError

SERVICE = "es"
"""The name of Amazon OpenSearch Service in signatures. Its domains of Elasticsearch have the same one."""

CHECK_INTERVAL = 30.0
"""Seconds between two looks at the credentials. botocore renews those that expire at least ten minutes before."""

LARGEST_CLOCK_ERROR = 300.0
"""The difference of two clocks in seconds beyond which AWS refuses a signature."""

_IN_THREAD = 64 * 1024
"""The size of a body from which it is signed in a thread: its checksum takes a while."""

_OF_SIGNATURE = (
    "signature expired",
    "signature not yet current",
    "signature we calculated does not match",
    "security token included in the request is",
)
"""Beginnings or parts of AWS's messages about the signature itself, not about what it permits."""


@dataclass(frozen=True, slots=True)
class AwsOptions:
    """How requests are signed: for this region, with the credentials of a profile or those of the environment."""

    region: str
    profile: str | None = None


class AwsCredentialsError(Exception):
    """There are no usable credentials now."""


class AwsSigner:
    """Signs requests with the credentials that botocore finds: in variables, files, a role of the pod or the machine.

    Finding and renewing them may ask other servers, so it is done in a thread. Raises `ConfigError` if botocore is not
    installed, or if there is no such profile.
    """

    def __init__(self, options: AwsOptions) -> None:
        try:
            from botocore.exceptions import ProfileNotFound  # noqa: PLC0415  an extra
            from botocore.session import Session  # noqa: PLC0415  likewise
        except ImportError:
            raise ConfigError(
                "expected the package botocore, which signs requests for AWS, found none",
                hint="pip install 'cdc-daemon[aws]'",
            ) from None
        self._region = options.region
        try:
            self._session = Session(profile=options.profile)
            self._session.get_scoped_config()
        except ProfileNotFound as error:
            raise ConfigError(str(error), hint="correct search.aws.profile, or AWS_PROFILE") from None
        self._credentials: Any = None
        self._frozen: Any = None
        self._checked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def source(self) -> str:
        """Return where the credentials were found, such as `env`. Raises `AwsCredentialsError`."""
        await self._find()
        return str(self._credentials.method)

    def forget(self) -> None:
        """Look at the credentials again before the next request, because AWS refused a signature."""
        self._checked_at = float("-inf")

    async def sign(self, method: str, url: URL, body: bytes | None) -> Mapping[str, str]:
        """Return the headers that sign a request as it is sent. Raises `AwsCredentialsError`."""
        frozen = await self._find()
        if body is not None and len(body) >= _IN_THREAD:
            return await asyncio.to_thread(self._sign, frozen, method, url, body)
        return self._sign(frozen, method, url, body)

    def _sign(self, frozen: Any, method: str, url: URL, body: bytes | None) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth  # noqa: PLC0415  an extra
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415  likewise

        parts = urlsplit(str(url))
        # As AWS reads the query: decoded, and encoded anew. The URL's own encoding may differ, for example of `*`.
        query = parse_qsl(parts.query, keep_blank_values=True)
        plain = parts._replace(query="").geturl()
        request = AWSRequest(method=method, url=plain, data=body or b"", params=query)
        SigV4Auth(frozen, SERVICE, self._region).add_auth(request)
        return dict(request.headers.items())

    async def _find(self) -> Any:
        async with self._lock:
            if self._frozen is None or time.monotonic() >= self._checked_at + CHECK_INTERVAL:
                self._frozen = await asyncio.to_thread(self._freeze)
                self._checked_at = time.monotonic()
            return self._frozen

    def _freeze(self) -> Any:
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            frozen = None if self._credentials is None else self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 -- botocore's providers raise errors of many kinds
            raise AwsCredentialsError(f"no AWS credentials: {' '.join(str(error).split())[:300]}") from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            self._credentials = None
            raise AwsCredentialsError(
                "no AWS credentials: none in variables, files, or a role of the pod or the machine"
            )
        return frozen


class SignedSession:
    """An aiohttp session that signs each request just before it is sent, and follows no redirect with a signature."""

    def __init__(self, session: aiohttp.ClientSession, signer: AwsSigner) -> None:
        self._session = session
        self._signer = signer

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, data: Any, headers: Mapping[str, str], **more: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send a request with a signature of its own: of this address, these bytes, and now."""
        target = URL(url)
        body = data.getvalue() if isinstance(data, io.BytesIO) else data
        signature = await self._signer.sign(method, target, body)
        signed = {**headers, **signature}
        sent = self._session.request(method, target, data=data, headers=signed, allow_redirects=False, **more)
        async with sent as response:
            yield response

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> tuple[str, bool] | None:
    """Return why AWS refused a request, and whether because of its signature; None if another server did."""
    if 300 <= status < 400:
        place = headers.get("location", "an unnamed place")
        return f"expected an answer, found a redirect to {place[:200]}: set search.hosts to the domain's address", True
    if status not in {400, 401, 403}:
        return None
    try:
        body = json.loads(content)
    except ValueError:
        return None
    message = (body.get("message") or body.get("Message")) if isinstance(body, dict) else None
    if not isinstance(message, str) or "error" in body:
        return None
    said = " ".join(message.split())[:500]
    if not any(each in said.lower() for each in _OF_SIGNATURE):
        return f"AWS: {said}", False
    wrong = clock_error(headers.get("date"))
    if wrong is not None and abs(wrong) > LARGEST_CLOCK_ERROR:
        direction = "ahead of" if wrong > 0 else "behind"
        return f"the clock of this machine is {abs(wrong):,.0f} s {direction} that of AWS; AWS: {said}", True
    return f"AWS refused the signature: {said}", True


def clock_error(date: str | None) -> float | None:
    """Return by how many seconds this machine's clock is ahead of a `Date` header."""
    try:
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None
