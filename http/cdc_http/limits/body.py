"""A request's body: read within limits and parsed by its content type."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cdc_daemon.config.http import HttpSettings
from cdc_daemon.model.slices import turn
from cdc_http.limits.body_memory import Lease
from cdc_http.responses import CLOSE, WRONG_HEADER, RequestError, unmappable

decompressor = zlib.decompressobj

_GZIP = frozenset({"gzip", "x-gzip"})
_WINDOW = 16 + zlib.MAX_WBITS
"""Window bits by which zlib expects gzip's header and trailer."""


def check_coding(headers: Headers) -> bool:
    """Return whether the body is compressed with gzip. Raises `RequestError` (415) for any other coding."""
    coding = ",".join(headers.getlist("content-encoding")).strip().lower()
    if coding in {"", "identity"}:
        return False
    if coding not in _GZIP:
        raise RequestError(
            415,
            WRONG_HEADER,
            "Content-Encoding: expected gzip, or none.",
            headers={"accept-encoding": "gzip"},
            field="Content-Encoding",
        )
    return True


async def decompress(body: bytes, limit: int) -> bytes | None:
    """Return the content of a gzip body, None when it exceeds `limit` bytes. Raises `RequestError` (400)."""
    # In a thread: zlib needs some milliseconds for a megabyte and releases the GIL meanwhile.
    return await asyncio.to_thread(_decompress, body, limit)


def _decompress(body: bytes, limit: int) -> bytes | None:
    stream = decompressor(_WINDOW)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise unmappable("body", "expected gzip.") from None
    if len(plain) > limit:
        return None
    if not stream.eof or stream.unused_data:
        raise unmappable("body", "expected one whole gzip member.")
    return plain


CONTENT_TYPES = ("application/json", "multipart/form-data", "application/x-www-form-urlencoded")

_FORM_KEY = re.compile(r"request\[(\w{1,64})\](\[\])?")
_KEYS_BESIDE_IDS = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""U+FEFF in UTF-8, which some programs put before a text (RFC 8259, 8.1, allows readers to ignore it)."""

_SMALL = 16 * 1024
"""Largest body, in bytes, that is parsed in one step."""

_PIECE = 8 * 1024
"""Bytes of a multipart form that its parser gets at once: about a millisecond of work."""

_VALUES_PER_ID = 8
"""Values of a JSON text allowed for each requested id: an object names each column of a key."""

_MAX_DISCARDED = 16
"""Multiple of `max_body` that is read and discarded. Most clients read the answer only after they have sent the whole
body, and miss it when the connection is closed before."""


async def read_body(request: Request, limits: HttpSettings, lease: Lease) -> dict[str, Any]:
    """Return the body as a JSON object: the body itself, or the object that its form describes.

    Received bytes use the memory of the `lease`. Raises `RequestError`.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise RequestError(
            415,
            WRONG_HEADER,
            "Mandatory header parameter Content-Type with value application/json is missing.",
            field="Content-Type",
        )
    compressed = check_coding(request.headers)
    body = await _read(request, limits, lease)
    if compressed:
        plain = await decompress(body, limits.max_body)
        if plain is None:
            raise _too_large(limits)
        body = plain
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if content_type == "multipart/form-data":
        return await _from_form(await _multipart(request.headers, body, limits), limits)
    if content_type == "application/json":
        return await _object("body", body, limits)
    return await _from_form(await _urlencoded(body, limits), limits)


async def _read(request: Request, limits: HttpSettings, lease: Lease) -> bytes:
    declared = request.headers.get("content-length", "")
    too_large = declared.isdigit() and int(declared) > limits.max_body
    if too_large and (int(declared) > _MAX_DISCARDED * limits.max_body or "expect" in request.headers):
        raise _too_large(limits)
    body = bytearray()
    passed = 0
    try:
        async with asyncio.timeout(limits.body_timeout):
            async for piece in request.stream():
                passed += len(piece)
                too_large = too_large or passed > limits.max_body
                if not too_large:
                    lease.add(len(piece))
                    body += piece
                elif passed > _MAX_DISCARDED * limits.max_body:
                    break
    except TimeoutError:
        if too_large:
            raise _too_large(limits) from None
        raise RequestError(
            408,
            "REQUEST_TIMEOUT",
            f"The body took longer than {limits.body_timeout:g} seconds.",
            headers=CLOSE,
        ) from None
    except ClientDisconnect:
        if too_large:
            raise _too_large(limits) from None
        raise RequestError(400, "REQUEST_BROKEN_OFF", "The connection ended before the body.", headers=CLOSE) from None
    if too_large:
        raise _too_large(limits)
    return bytes(body)


def _too_large(limits: HttpSettings) -> RequestError:
    message = f"The body is larger than {limits.max_body} bytes."
    return RequestError(413, "PAYLOAD_TOO_LARGE", message, headers=CLOSE, limit=limits.max_body)


async def _object(field: str, text: bytes | str, limits: HttpSettings) -> dict[str, Any]:
    if len(text) > _SMALL:
        # Parsing blocks the event loop, for a time that grows with the number of values.
        comma, bracket, brace = (",", "[", "{") if isinstance(text, str) else (b",", b"[", b"{")
        most = _VALUES_PER_ID * limits.max_ids + _KEYS_BESIDE_IDS
        if text.count(comma) + text.count(bracket) + text.count(brace) > most:  # type: ignore[arg-type]  # both alike
            raise unmappable(field, f"expected JSON with no more than {most} values.")
        async with turn():
            pass
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise unmappable(field, f"expected JSON, found a mistake at character {error.pos}.") from None
    if not isinstance(value, dict):
        raise unmappable(field, "expected a JSON object.")
    return value


async def _urlencoded(body: bytes, limits: HttpSettings) -> list[tuple[str, str]]:
    def parse() -> list[tuple[str, str]]:
        most = limits.max_ids + _KEYS_BESIDE_IDS
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=most)

    try:
        # A single field may be as large as the body, so there are no slices. Plain Python can be interrupted.
        return await asyncio.to_thread(parse) if len(body) > _SMALL else parse()
    except ValueError:
        raise unmappable("body", "expected a form in UTF-8 with no more fields than ids may be.") from None


async def _multipart(headers: Headers, body: bytes, limits: HttpSettings) -> list[tuple[str, str]]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), _PIECE):
            async with turn():
                pass
            yield body[start : start + _PIECE]

    fields = limits.max_ids + _KEYS_BESIDE_IDS
    parser = MultiPartParser(
        headers,
        pieces(),  # type: ignore[arg-type]  # any asynchronous iterator will do
        max_files=0,
        max_fields=fields,
        max_part_size=limits.max_body,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, LookupError):
        raise unmappable("body", "expected a form of plain fields, each with its name.") from None
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


async def _from_form(fields: list[tuple[str, str]], limits: HttpSettings) -> dict[str, Any]:
    """Return the object that a form describes: `params` and `request` as JSON texts, or `request[key]` and `[]`."""
    found: dict[str, Any] = {}
    request: dict[str, Any] = {}
    for name, value in fields:
        match = _FORM_KEY.fullmatch(name)
        if name in {"params", "request"}:
            found[name] = await _object(name, value.removeprefix("\ufeff"), limits) if value else {}
        elif match is not None and (match[2] or match[1] == "objectIds"):
            request.setdefault(match[1], []).append(value)
        elif match is not None:
            request[match[1]] = _number_or_text(value) if match[1] == "days" else value
    if request:
        whole = found.setdefault("request", {})
        whole.update(request)
    return found


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
