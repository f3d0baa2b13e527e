"""Failures by their type, and the errors made from them."""

from __future__ import annotations

import pickle

import pytest

from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.search.failure import (
    EngineError,
    Failure,
    FailureKind,
    attempting,
    classify,
    error_of,
    hint_for,
    is_foreign,
)


@pytest.mark.parametrize(
    ("status", "error_type", "kind"),
    [
        (409, "version_conflict_engine_exception", FailureKind.CONFLICT),
        (429, "es_rejected_execution_exception", FailureKind.OVERLOAD),
        (503, "es_rejected_execution_exception", FailureKind.OVERLOAD),
        (429, "rejected_execution_exception", FailureKind.OVERLOAD),  # of OpenSearch
        (503, "rejected_execution_exception", FailureKind.OVERLOAD),
        (429, "circuit_breaking_exception", FailureKind.OVERLOAD),
        (429, "http_429", FailureKind.OVERLOAD),
        (429, "cluster_block_exception", FailureKind.OPERATOR),
        (403, "cluster_block_exception", FailureKind.OPERATOR),
        (503, "cluster_block_exception", FailureKind.UNAVAILABLE),
        (400, "index_closed_exception", FailureKind.OPERATOR),
        (404, "index_not_found_exception", FailureKind.OPERATOR),
        (401, "security_exception", FailureKind.OPERATOR),
        (403, "an_unknown_exception", FailureKind.OPERATOR),
        (301, "http_301", FailureKind.OPERATOR),
        (400, "document_parsing_exception", FailureKind.DOCUMENT),
        (400, "illegal_argument_exception", FailureKind.DOCUMENT),
        (413, "http_413", FailureKind.DOCUMENT),
        (503, "unavailable_shards_exception", FailureKind.UNAVAILABLE),
        (500, "node_closed_exception", FailureKind.UNAVAILABLE),
        (500, "illegal_index_shard_state_exception", FailureKind.UNAVAILABLE),
        (404, "shard_not_found_exception", FailureKind.UNAVAILABLE),
        (0, "connection_timeout", FailureKind.UNAVAILABLE),
        (408, "http_408", FailureKind.UNAVAILABLE),
        (500, "null_pointer_exception", FailureKind.SERVER_FAULT),
        (503, "master_not_discovered_exception", FailureKind.UNAVAILABLE),
        (503, "cluster_manager_not_discovered_exception", FailureKind.UNAVAILABLE),  # of OpenSearch 2 and 3
        (500, "not_cluster_manager_exception", FailureKind.UNAVAILABLE),
        (400, "media_type_header_exception", FailureKind.OPERATOR),
        (406, "http_406", FailureKind.OPERATOR),
        (410, "http_410", FailureKind.OPERATOR),
    ],
)
def test_the_type_decides_and_the_status_where_it_is_unknown(status: int, error_type: str, kind: FailureKind) -> None:
    assert classify(status, error_type, "because") is kind


@pytest.mark.parametrize(
    "error",
    [None, "", {}, [], "text", {"type": None, "reason": None}, {"reason": 5, "caused_by": "x"}, {"caused_by": {}}],
)
def test_whatever_stands_for_an_error_becomes_a_failure(error: object) -> None:
    failure = Failure.from_error(418, error)

    assert failure.error_type == "http_418"
    assert failure.reason


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(0, "connection_error", "refused"), ElasticsearchUnavailableError),
        (Failure(429, "circuit_breaking_exception", "full"), ElasticsearchUnavailableError),
        (Failure(500, "exception", "?"), ElasticsearchUnavailableError),
        (Failure(403, "security_exception", "no"), ElasticsearchRefusedError),
        (Failure(400, "mapper_parsing_exception", "bad mapping"), ElasticsearchRefusedError),
    ],
)
def test_errors_say_what_was_tried_and_whether_waiting_helps(failure: Failure, expected: type[Exception]) -> None:
    error = error_of(failure, "read the mapping", index="users-1")

    assert type(error) is expected
    assert failure.reason in str(error)
    assert "index users-1" in str(error)


def test_an_engine_error_becomes_the_error_of_the_attempted_action() -> None:
    with (
        pytest.raises(ElasticsearchUnavailableError, match="could not refresh: connection_error: refused") as caught,
        attempting("refresh", alias="users"),
    ):
        raise EngineError(Failure(0, "connection_error", "refused"))
    assert caught.value.where == {"alias": "users"}


def test_an_engine_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(EngineError(Failure(403, "security_exception", "no"))))
    assert error.failure == Failure(403, "security_exception", "no")
    assert error.hint


@pytest.mark.parametrize(
    ("status", "error_type"), [(401, "http_401"), (403, "x"), (405, "http_405"), (302, "http_302")]
)
def test_an_untyped_refusal_has_a_hint_too(status: int, error_type: str) -> None:
    assert hint_for(status, error_type)
    assert hint_for(400, "document_parsing_exception") is None


@pytest.mark.parametrize(
    ("failure", "foreign"),
    [
        (Failure.from_error(406, "Content-Type header [application/vnd.elasticsearch+json] is not supported"), True),
        (Failure(400, "media_type_header_exception", "Invalid media-type value on headers"), True),
        (Failure(200, "unsupported_product", "what answers is not Elasticsearch"), True),
        (Failure(400, "mapper_parsing_exception", "no"), False),
        (Failure(410, "http_410", "gone"), False),
        (Failure(0, "connection_error", "refused"), False),
    ],
)
def test_a_client_that_does_not_fit_the_server_is_told_from_other_failures(failure: Failure, *, foreign: bool) -> None:
    assert is_foreign(failure) is foreign


@pytest.mark.parametrize("error_type", ["master_not_discovered_exception", "cluster_manager_not_discovered_exception"])
def test_a_cluster_without_a_master_affects_every_index(error_type: str) -> None:
    assert Failure(503, error_type, "no master").is_of_cluster
