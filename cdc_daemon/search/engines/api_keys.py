"""Whether an API key may be sent: only an engine that has API keys of this kind gets one.

Elasticsearch has them since 6.7, except its open-source build. OpenSearch has its own since 3.7; they begin with `os_`
(https://docs.opensearch.org/latest/security/access-control/api-keys/).
"""

from __future__ import annotations

from typing import Any, Final

from elastic_transport import AsyncTransport, TransportError

from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.client import failure_of
from cdc_daemon.search.engines.product import (
    ELASTICSEARCH,
    NOT_ALLOWED,
    OPENSEARCH,
    read_product,
    refuse_other_servers,
    release,
)
from cdc_daemon.search.engines.rest import Answer, check_status
from cdc_daemon.search.failure import EngineError, NoApiKeysError

_OF_OPENSEARCH: Final = "os_"
"""The beginning of each API key of OpenSearch. Elasticsearch encodes its own with Base64, which has no underscore."""

_FIRST_OPENSEARCH: Final = (3, 7)


class ApiKeyCheck:
    """Asks the engine without the key, through a connection of its own, whether it takes keys of this kind."""

    def __init__(self, api_key: str, anonymous: AsyncTransport) -> None:
        self._is_of_opensearch = api_key.startswith(_OF_OPENSEARCH)
        self._anonymous = anonymous

    async def __call__(self) -> None:
        """Raise `NoApiKeysError` unless the engine takes the key. Raises `EngineError` too."""
        try:
            meta, body = await self._anonymous.perform_request("GET", "/", headers={"accept": "application/json"})
        except TransportError as error:
            raise EngineError(failure_of(error)) from None
        refuse_other_servers(meta.status, body)
        check_status(Answer(meta.status, body), NOT_ALLOWED)
        is_elasticsearch = meta.headers.get("x-elastic-product") == ELASTICSEARCH
        if meta.status in NOT_ALLOWED:
            # The release of an OpenSearch is not known without a login, so only the kind of the key is judged.
            name = ELASTICSEARCH if is_elasticsearch or _offers_keys(body) else OPENSEARCH
            takes_key = (name == OPENSEARCH) == self._is_of_opensearch
            product = Product(name, "")
        else:
            product = read_product(meta.status, body, is_elasticsearch=is_elasticsearch)
            takes_key = self._fits(product, is_open_source=body["version"].get("build_flavor") == "oss")
        if not takes_key:
            raise NoApiKeysError(str(product), of_opensearch=self._is_of_opensearch)

    async def close(self) -> None:
        """Close the connection."""
        await self._anonymous.close()

    def _fits(self, product: Product, *, is_open_source: bool) -> bool:
        if product.name == OPENSEARCH:
            return self._is_of_opensearch and release(product.version) >= _FIRST_OPENSEARCH
        return not self._is_of_opensearch and not is_open_source


def _offers_keys(body: Any) -> bool:
    """Return whether an answer that demands a login names API keys, as Elasticsearch's does.

    The headers of the answer do so too, but the client keeps only the first of several with one name.
    """
    try:
        return "ApiKey" in body["error"]["header"]["WWW-Authenticate"]
    except (KeyError, TypeError):
        return False
