"""Classification of Elasticsearch's failures by their type rather than by their status.

The same status has very different meanings: 400 is a bad document or a closed index, 403 a missing
privilege or a write block, 404 a missing index or a successful deletion of nothing, 429 overload or a full
disk. Types and reasons are those of Elasticsearch 8.19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError

MAX_REASON = 2000
"""The number of characters kept of a reason: it may quote the document, and a document may be of any size."""


class FailureKind(Enum):
    """The meaning of a failure for its operation."""

    CONFLICT = "conflict"
    """The index has a newer version."""

    DOCUMENT = "document"
    """Elasticsearch cannot accept the document."""

    OVERLOAD = "overload"
    """Elasticsearch is overloaded; the same request will succeed later."""

    OPERATOR = "operator"
    """An operator must fix the cause: an alias, a block, a privilege, a closed index."""

    UNAVAILABLE = "unavailable"
    """The cluster or the shard is not up."""

    SERVER_FAULT = "server fault"
    """Elasticsearch failed on this operation; other documents may succeed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of an operation or of a whole request.

    `status` is 0 if there was no response. `sent` is False if no connection was made, so nothing was sent.
    """

    status: int
    error_type: str
    reason: str
    sent: bool = True

    @property
    def kind(self) -> FailureKind:
        """The kind of the failure."""
        return classify(self.status, self.error_type, self.reason)

    @property
    def unanswered(self) -> bool:
        """Whether Elasticsearch may have applied what was sent, or may still apply it.

        An error of the server or of a proxy (5xx) does not say how far the request was processed. An error of the
        client (4xx) means that the request was rejected.
        """
        return self.sent and (self.status in {0, 408} or self.status >= 500)

    @property
    def label(self) -> str:
        """The error type as a metric label, limited to known types: a proxy may answer with anything."""
        return self.error_type if self.error_type in _LABELS else "other"

    @property
    def is_of_cluster(self) -> bool:
        """Whether the failure of an operation in an answered request affects every index.

        The reason of an index block names the index (`ClusterBlockException.buildMessage`, 8.19).
        """
        if self.error_type == "cluster_block_exception":
            return self.reason.startswith("blocked by:")
        return self.error_type in _OF_CLUSTER

    @property
    def hint(self) -> str | None:
        """How an operator can fix it, if known."""
        return hint_for(self.status, self.error_type)

    @classmethod
    def from_error(cls, status: int, error: Any) -> Failure:
        """Return the failure in Elasticsearch's `error` object, or in a proxy's response without one."""
        if not isinstance(error, dict):
            return cls(status, f"http_{status}", shorten(str(error)) if error else "no reason given")
        reason = str(error.get("reason") or "no reason given")
        cause = error
        while isinstance(cause.get("caused_by"), dict):
            cause = cause["caused_by"]  # the innermost is the cause, the outer ones the location
        if cause.get("reason") and str(cause["reason"]) not in reason:
            reason = f"{reason}: {cause['reason']}"
        return cls(status, str(error.get("type") or f"http_{status}"), shorten(reason))


_OVERLOAD = frozenset({"es_rejected_execution_exception", "rejected_execution_exception", "circuit_breaking_exception"})
"""OpenSearch calls the first one the second (`OpenSearchRejectedExecutionException`)."""

_OPERATOR = frozenset(
    {
        "aliases_not_found_exception",
        "cluster_block_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "index_not_ready",
        "invalid_alias_name_exception",
        "invalid_index_name_exception",
        "media_type_header_exception",
        "routing_missing_exception",
        "security_exception",
    }
)

_NO_MASTER = frozenset(
    {
        "cluster_manager_not_discovered_exception",
        "master_not_discovered_exception",
        "not_cluster_manager_exception",
        "not_master_exception",
    }
)
"""OpenSearch calls the master the cluster manager since 2.0."""

_OF_CLUSTER = _NO_MASTER | {"media_type_header_exception"}

_UNAVAILABLE = frozenset(
    {
        "already_closed_exception",
        "connect_transport_exception",
        "illegal_index_shard_state_exception",
        "index_shard_closed_exception",
        "no_shard_available_action_exception",
        "node_closed_exception",
        "node_disconnected_exception",
        "node_not_connected_exception",
        "process_cluster_event_timeout_exception",
        "receive_timeout_transport_exception",
        "shard_not_found_exception",
        "shard_not_in_primary_mode_exception",
        "timeout_exception",
        "unavailable_shards_exception",
        *_NO_MASTER,
    }
)

_LABELS = _OPERATOR | _UNAVAILABLE | {"illegal_argument_exception"}

_OPERATOR_ARGUMENT = re.compile(
    r"no write index is defined for alias"
    r"|has more than one index associated"
    r"|allowed in data streams"
    r"|pipeline with id \[.*\] does not exist"
    r"|explicit index in bulk is not allowed"
    r"|contains unrecognized parameter"
)
"""Reasons of `illegal_argument_exception` that concern the index or the request and not the document."""


def classify(status: int, error_type: str, reason: str) -> FailureKind:
    """Return the kind of a failure by its type; the status decides only if the type is unknown."""
    if error_type == "version_conflict_engine_exception":
        return FailureKind.CONFLICT
    if error_type in _OVERLOAD:
        return FailureKind.OVERLOAD
    if error_type in _UNAVAILABLE or status in {0, 408, 502, 503, 504}:
        return FailureKind.UNAVAILABLE
    if error_type in _OPERATOR:
        return FailureKind.OPERATOR
    if error_type == "illegal_argument_exception" and _OPERATOR_ARGUMENT.search(reason):
        return FailureKind.OPERATOR
    return _classify_status(status)


def _classify_status(status: int) -> FailureKind:
    if status == 429:
        return FailureKind.OVERLOAD
    if status >= 500:
        return FailureKind.SERVER_FAULT
    if status < 400 or status in {401, 403, 404, 405, 406, 410}:
        return FailureKind.OPERATOR  # 406: the server does not know the media types of this client
    return FailureKind.DOCUMENT


UNSUPPORTED_PRODUCT = "unsupported_product"
"""The type of a failure with a server that the daemon does not speak to."""

NO_API_KEYS = "no_api_keys"
"""The type of a failure with an engine that does not take the configured API key."""

BROKEN_ANSWER = "broken_answer"
"""The type of a failure with a response that does not answer the request."""

_MEDIA_TYPE_REFUSED = "media_type_header_exception"

_CREDENTIALS_HINT = "correct the credentials, or grant write and view_index_metadata on the index"
_ADDRESS_HINT = "check that the host is the search engine itself and that no path is missing from its address"

_HINTS = {
    "aliases_not_found_exception": "create the alias, or correct its name in the configuration",
    BROKEN_ANSWER: _ADDRESS_HINT,
    "cluster_block_exception": "lift the block (index.blocks.*, cluster.blocks.*); after a full disk make room first",
    "index_closed_exception": "open the index again",
    "index_not_found_exception": "create the index and point the alias at it",
    "illegal_argument_exception": "the alias needs one write index that is no data stream, with pipelines that exist",
    "routing_missing_exception": "map a routing value, or take _routing.required out of the index's mapping",
    "security_exception": _CREDENTIALS_HINT,
    NO_API_KEYS: "log in with username and password_file instead of an API key, or correct hosts",
    UNSUPPORTED_PRODUCT: "correct hosts or flavor, or upgrade the search engine",
}


def hint_for(status: int, error_type: str) -> str | None:
    """Return how an operator can fix a failure, or None if unknown."""
    hint = _HINTS.get(error_type)
    if hint is None and status in {401, 403}:
        return _CREDENTIALS_HINT
    if hint is None and status in {301, 302, 307, 308, 404, 405}:
        return _ADDRESS_HINT
    return hint


def is_foreign(failure: Failure) -> bool:
    """Return whether the failure is that of a client of another engine or release than the one that answers."""
    return failure.status == 406 or failure.error_type in {UNSUPPORTED_PRODUCT, _MEDIA_TYPE_REFUSED}


class EngineError(CdcError):
    """A request to the search engine failed. `attempting` converts it to the error of the attempted action."""

    retryable = True

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error_type}: {failure.reason}", hint=failure.hint)
        self.failure = failure

    def __reduce__(self) -> tuple[Any, ...]:
        return EngineError, (self.failure,)


class UnsupportedEngineError(EngineError):
    """What answers is no search engine that the daemon supports. Another server or configuration is needed.

    It is `certain` if the engine names itself. Otherwise a proxy may have answered in place of an engine.
    """

    retryable = False

    def __init__(self, reason: str, *, certain: bool = True) -> None:
        super().__init__(Failure(200, UNSUPPORTED_PRODUCT, reason))
        self.certain = certain

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(UnsupportedEngineError, certain=self.certain), (self.failure.reason,)


class NoApiKeysError(UnsupportedEngineError):
    """The engine that answers has no API keys of the configured kind, so the key was not sent."""

    def __init__(self, engine: str, *, of_opensearch: bool) -> None:
        kind = "OpenSearch (3.7 or newer)" if of_opensearch else "Elasticsearch"
        reason = f"the API key is one of {kind}, and {engine} does not take it; it was not sent"
        EngineError.__init__(self, Failure(200, NO_API_KEYS, reason))
        self.certain = True
        self._arguments = (engine, of_opensearch)

    def __reduce__(self) -> tuple[Any, ...]:
        engine, of_opensearch = self._arguments
        return partial(NoApiKeysError, of_opensearch=of_opensearch), (engine,)


def broken_answer(reason: str) -> EngineError:
    """Return the error of an answer that does not answer the request."""
    return EngineError(Failure(0, BROKEN_ANSWER, reason))


@contextmanager
def attempting(doing: str, **where: Any) -> Iterator[None]:
    """Convert the failure of a request into the error of the attempted action.

    Raises `ElasticsearchUnavailableError` for a transient failure and `ElasticsearchRefusedError` for
    a failure that an operator must fix.
    """
    try:
        yield
    except EngineError as error:
        raise error_of(error.failure, doing, **where) from None


def error_of(failure: Failure, doing: str, **where: Any) -> CdcError:
    """Return the error that names the attempted action and Elasticsearch's failure."""
    message = f"could not {doing}: {failure.error_type}: {failure.reason}"
    if failure.kind in {FailureKind.OVERLOAD, FailureKind.UNAVAILABLE, FailureKind.SERVER_FAULT}:
        return ElasticsearchUnavailableError(message, hint=failure.hint, **where)
    return ElasticsearchRefusedError(message, hint=failure.hint, **where)


def shorten(text: str) -> str:
    """Return a reason, at most `MAX_REASON` characters of it."""
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
