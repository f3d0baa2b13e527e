"""Whether an API key may be sent: only an engine that has API keys of this kind gets one.

Elasticsearch has them since 6.7, except its open-source build. OpenSearch has its own since 3.7; they begin with `os_`
(https://docs.opensearch.org/latest/security/access-control/api-keys/).
"""

from __future__ import annotations

from typing import Any, Final

from elastic_transport import AsyncTransport

from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.main_page import ask_main_page
from cdc_daemon.search.engines.product import ELASTICSEARCH, NOT_ALLOWED, OPENSEARCH, read_product, release
from cdc_daemon.search.failure import NoApiKeysError

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
        page = await ask_main_page(self._anonymous)
        if page.status in NOT_ALLOWED:
            # The release of an OpenSearch is not known without a login, so only the kind of the key is judged.
            name = ELASTICSEARCH if page.is_elasticsearch or _offers_keys(page.body) else OPENSEARCH
            takes_key = (name == OPENSEARCH) == self._is_of_opensearch
            product = Product(name, "")
        else:
            product = read_product(page.status, page.body, is_elasticsearch=page.is_elasticsearch)
            takes_key = self._fits(product, is_open_source=page.body["version"].get("build_flavor") == "oss")
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
