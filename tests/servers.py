"""The servers of the tests, and the search engine among them, which the environment chooses."""

from __future__ import annotations

import os
from typing import Any

from sandbox import FAST_START, Sandbox
from sandbox.engines import DEFAULT_ENGINE, find_engine

SEARCH_VARIABLE = "CDC_TEST_SEARCH"
"""The environment variable that names the search engine of the tests, such as `opensearch:2.19.5`."""


def chosen_search() -> str:
    """Return the search engine that the tests run on."""
    return os.environ.get(SEARCH_VARIABLE) or DEFAULT_ENGINE


def unparsable() -> str:
    """Return the type of the error with which the chosen engine refuses a document that does not fit its mapping."""
    return "document_parsing_exception" if _is_elasticsearch_8() else "mapper_parsing_exception"


def indexes_vectors() -> bool:
    """Return whether the chosen engine can search vectors without a plugin."""
    return _is_elasticsearch_8()


def records_ignored_values() -> bool:
    """Return whether the chosen engine can find the documents with a value beyond `ignore_above`."""
    return _is_elasticsearch_8()


def paging_requests() -> set[str]:
    """Return the kinds of requests with which the daemon reads all documents of an index, page by page."""
    return {"POST _pit", "POST _search"} if _is_elasticsearch_8() else {"POST _search", "DELETE _search"}


def make_sandbox(**options: Any) -> Sandbox:
    """Return a sandbox for tests: with the chosen search engine, and quick to start. `options` are Sandbox's."""
    return Sandbox(**{"search": chosen_search(), "java_options": FAST_START, **options})


def _is_elasticsearch_8() -> bool:
    """Return whether the chosen engine is Elasticsearch 8 or later."""
    engine = find_engine(chosen_search())
    return engine.name == "elasticsearch" and not engine.version.startswith("7.")
