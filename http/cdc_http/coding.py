"""Compressed bodies: the limit applies to the decompressed size."""

from __future__ import annotations

import asyncio
import zlib

from starlette.datastructures import Headers

from cdc_http.request_error import WRONG_HEADER, RequestError, unmappable

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
