"""The question which server answers: `GET /` through a transport alone, without the client of an engine."""

from __future__ import annotations

from typing import Any, NamedTuple

from elastic_transport import AsyncTransport, TransportError

from cdc_daemon.search.engines.client import failure_of
from cdc_daemon.search.engines.product import ELASTICSEARCH, NOT_ALLOWED, refuse_other_servers
from cdc_daemon.search.engines.rest import Answer, check_status
from cdc_daemon.search.failure import EngineError


class MainPageAnswer(NamedTuple):
    """The answer of a search engine to `GET /`. `is_elasticsearch` is true if a header names Elasticsearch."""

    status: int
    body: Any
    is_elasticsearch: bool


async def ask_main_page(transport: AsyncTransport) -> MainPageAnswer:
    """Ask for the main page: the answer of an engine, or of one that demands another login (401 or 403).

    Raises `UnsupportedEngineError` for a server that is no search engine, and `EngineError`.
    """
    try:
        meta, body = await transport.perform_request("GET", "/", headers={"accept": "application/json"})
    except TransportError as error:
        raise EngineError(failure_of(error)) from None
    refuse_other_servers(meta.status, body)
    check_status(Answer(meta.status, body), NOT_ALLOWED)
    return MainPageAnswer(meta.status, body, meta.headers.get("x-elastic-product") == ELASTICSEARCH)
