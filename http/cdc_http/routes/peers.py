"""The application of the peer port: questions of other daemons of the ring, signed with the shared token."""

from __future__ import annotations

import asyncio

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_daemon.peers.questions import LARGEST_BODY, PeerQuestions, UnknownQuestionError
from cdc_daemon.peers.signature import (
    DIGEST_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    PeerSignature,
    SignedHead,
    covers,
)

log = structlog.get_logger(__name__)

BODY_SECONDS = 5.0
"""Seconds that a peer has to send the body of its question."""

_CLOSE = {"connection": "close"}


def create_peer_app(questions: PeerQuestions, token: str) -> Starlette:
    """Create the application that answers questions which are signed with the token, and no others."""
    signature = PeerSignature(token)

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        head = SignedHead(*(request.headers.get(each, "") for each in (NONCE_HEADER, DIGEST_HEADER, SIGNATURE_HEADER)))
        # Before the body is read: a stranger occupies no memory.
        if not signature.is_question(name, head):
            return Response(status_code=403, headers=_CLOSE)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(request)
        except (TimeoutError, ClientDisconnect):
            return Response(status_code=408, headers=_CLOSE)
        if body is None or not covers(head, body):
            return Response(status_code=400, headers=_CLOSE)
        try:
            content = await questions.answer(name, body)
        except UnknownQuestionError:
            return Response(status_code=503)
        except ValueError as error:
            log.warning("peers.question_not_understood", question=name, error=str(error))
            return Response(status_code=400)
        return Response(content, headers=signature.answer(name, head.nonce, content).headers)

    app = Starlette(routes=[Route("/peers/{name:str}", answer, methods=["POST"])])
    # A redirect would be built from the Host header, which a caller can choose.
    app.router.redirect_slashes = False
    return app


async def _read(request: Request) -> bytes | None:
    """Return the body; None if it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)
