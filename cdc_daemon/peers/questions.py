"""What this daemon answers to its peers: named questions, registered by the parts that know the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

PeerHandler = Callable[[bytes], bytes | Awaitable[bytes]]
"""Answers a question, at once or as a coroutine. It raises ValueError for a body that it cannot read."""

LARGEST_BODY = 4 * 1024 * 1024
"""The maximum size of a question and of an answer, in bytes."""


class UnknownQuestionError(Exception):
    """No part answers this question, or not yet."""


class PeerQuestions:
    """The questions that this daemon answers, by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, PeerHandler] = {}

    def register(self, name: str, handler: PeerHandler) -> None:
        """Answer a question with `handler` from now on, instead of the handler that was registered before."""
        self._handlers[name] = handler

    def register_json(self, name: str, handler: Callable[[], object]) -> None:
        """Answer a question without a body with the value that `handler` returns, as JSON."""
        self.register(name, lambda _body: orjson.dumps(handler(), default=str))

    def withdraw(self, name: str) -> None:
        """Answer a question no more."""
        self._handlers.pop(name, None)

    async def answer(self, name: str, body: bytes) -> bytes:
        """Return the answer. Raises `UnknownQuestionError`, and ValueError for a body that is not a question's."""
        handler = self._handlers.get(name)
        if handler is None:
            raise UnknownQuestionError(name)
        answer = handler(body)
        return await answer if isinstance(answer, Awaitable) else answer
