"""Whom an operator's request is put down to."""

from __future__ import annotations

from starlette.requests import Request

from cdc_http.auth.authorization import caller_name, keep_caller
from cdc_http.auth.tokens import Caller


def test_a_caller_is_named_by_their_token_and_without_one_as_nobody() -> None:
    request = Request({"type": "http", "headers": []})
    assert caller_name(request) == "unauthenticated local"
    keep_caller(request, Caller("anna", frozenset({"admin"})))
    assert caller_name(request) == "anna"
