"""Elasticsearch's own client, made to speak to any search engine: for tests and the sandbox only, never for the daemon.

The client of Elasticsearch 8 sends media types of its own, which OpenSearch and Elasticsearch 7 refuse, and accepts
only a product that names itself Elasticsearch. The nodes here send plain media types and add the product's header to
each response. Tests can so look at every engine through one client, which shares no code with the daemon.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from elastic_transport import AiohttpHttpNode, ApiResponseMeta, HttpHeaders, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import AsyncElasticsearch, Elasticsearch

REQUEST_SECONDS: Final = 60.0
"""Request timeout: a machine that runs several servers is slow at times."""

_OWN_MEDIA_TYPE: Final = re.compile(r"application/vnd\.elasticsearch\+([a-z-]+); *compatible-with=\d+")


def make_search_client(url: str, **options: Any) -> Elasticsearch:
    """Return a client for any engine. `options` are those of `Elasticsearch`."""
    return Elasticsearch(url, **{"node_class": _Node, "request_timeout": REQUEST_SECONDS, **options})


def make_async_search_client(url: str, **options: Any) -> AsyncElasticsearch:
    """Return an asyncio client for any engine. `options` are those of `AsyncElasticsearch`."""
    return AsyncElasticsearch(url, **{"node_class": _AsyncNode, "request_timeout": REQUEST_SECONDS, **options})


class _Node(Urllib3HttpNode):
    """A host that may be any engine."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        answer = super().perform_request(method, target, body, _with_plain_media_types(headers), request_timeout)
        return answer._replace(meta=_with_product(answer.meta))


class _AsyncNode(AiohttpHttpNode):
    """A host that may be any engine, for asyncio."""

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        plain = _with_plain_media_types(headers)
        answer = await super().perform_request(method, target, body, plain, request_timeout)
        return answer._replace(meta=_with_product(answer.meta))


def _with_plain_media_types(headers: HttpHeaders | None) -> HttpHeaders | None:
    if headers is None:
        return None
    return HttpHeaders({name: _OWN_MEDIA_TYPE.sub(r"application/\1", value) for name, value in headers.items()})


def _with_product(meta: ApiResponseMeta) -> ApiResponseMeta:
    headers = HttpHeaders(meta.headers)
    headers["x-elastic-product"] = "Elasticsearch"
    return replace(meta, headers=headers)
