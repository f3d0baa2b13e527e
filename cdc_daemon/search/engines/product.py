"""Which search engines the daemon supports, and how they answer `GET /`."""

from __future__ import annotations

from typing import Any, Final

from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.answers import MAIN_PAGE, read
from cdc_daemon.search.failure import EngineError, UnsupportedEngineError

SUPPORTED: Final = "Elasticsearch 7.10 to 9 and OpenSearch 1.3 to 3"
"""What the daemon supports, for messages."""

ELASTICSEARCH: Final = "Elasticsearch"
OPENSEARCH: Final = "OpenSearch"

NO_ENGINE: Final = frozenset({301, 302, 303, 307, 308, 404, 405})
"""The statuses with which no search engine answers `GET /`: a redirect of Kibana, an unknown path of a web server."""

NOT_ALLOWED: Final = frozenset({401, 403})
"""The statuses of a login that may not ask which engine answers."""

_COMPATIBLE: Final = (7, 10)
"""The release that OpenSearch claims with `compatibility.override_main_response_version`, for older clients."""

_LONGEST_NAME: Final = 40


def release(version: str) -> tuple[int, int]:
    """Return the first two numbers of a release; (0, 0) if it is none."""
    numbers = [int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit() and len(part) < 4]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def is_supported(product: Product) -> bool:
    """Return whether the daemon supports an engine of this release."""
    found = release(product.version)
    if product.name == OPENSEARCH:
        return (1, 3) <= found < (4, 0) or found == _COMPATIBLE
    return (7, 10) <= found < (10, 0)


def has_own_client(product: Product) -> bool:
    """Return whether the client of Elasticsearch 8 and 9 is used, also for an Elasticsearch of an unknown release."""
    return product.name == ELASTICSEARCH and release(product.version)[0] != 7


def hides_vectors(product: Product) -> bool:
    """Return whether the engine leaves vectors out of a document's source unless they are demanded.

    Elasticsearch does so since 9.2 (`index.mapping.exclude_source_vectors`).
    """
    return product.name == ELASTICSEARCH and release(product.version) >= (9, 2)


def refuse_other_servers(status: int, body: Any) -> None:
    """Raise `UnsupportedEngineError` for an answer to `GET /` of Kibana or a web server instead of a search engine.

    Not for an error of the server (5xx), which a proxy sends while the engine behind it is unavailable.
    """
    is_page = isinstance(body, str) and body.lstrip()[:1] == "<"
    if status in NO_ENGINE or (is_page and status < 500):
        raise _no_engine(status)


def _no_engine(status: int) -> UnsupportedEngineError:
    found = f"found something that is no search engine (status {status})"
    return UnsupportedEngineError(f"expected {SUPPORTED}, {found}", certain=False)


def flattened_type(product: Product | None) -> str | None:
    """Return the engine's type for objects whose keys are data; None if it has none, or if its release is unknown.

    OpenSearch has it since 2.7. The open-source build of Elasticsearch, whose last release is 7.10, has none.
    """
    if product is None:
        return None
    found = release(product.version)
    if product.name == OPENSEARCH:
        return "flat_object" if (2, 7) <= found < (4, 0) else None
    return "flattened" if found >= (7, 11) else None


def read_product(status: int, body: Any, *, is_elasticsearch: bool) -> Product:
    """Return the engine that gives this answer to `GET /`. `is_elasticsearch` says whether a header names it.

    A login without the privilege to ask (401 or 403) leaves only the header, which Elasticsearch has since 7.14: then
    the release is unknown. Raises `UnsupportedEngineError` for an engine that the daemon does not support.
    """
    if status in NOT_ALLOWED:
        return Product(ELASTICSEARCH if is_elasticsearch else OPENSEARCH, "")
    try:
        page = read(MAIN_PAGE, body)
    except EngineError:
        raise _no_engine(status) from None
    version = page["version"]
    is_opensearch = version.get("distribution") == "opensearch" or OPENSEARCH in page.get("tagline", "")
    product = Product(OPENSEARCH if is_opensearch else ELASTICSEARCH, version["number"][:_LONGEST_NAME])
    if not is_supported(product):
        raise UnsupportedEngineError(f"expected {SUPPORTED}, found {product}")
    return product
