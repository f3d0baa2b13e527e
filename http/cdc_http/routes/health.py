"""The daemon's own health, for probes and Prometheus; it never depends on Cassandra or the search engine."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_http.daemon_view import HealthView
from cdc_http.responses import NO_STORE, JsonResponse


def health_routes(daemon: HealthView) -> list[Route]:
    """Return the routes of the probes and the metrics."""

    async def metrics(request: Request) -> Response:
        daemon.measure()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(daemon.registry), headers={"content-type": content_type, **NO_STORE})

    async def livez(_request: Request) -> Response:
        loops = daemon.livez()
        ok = all(loop.ok for loop in loops.values())
        states = {name: {"ok": loop.ok, "last_beat": _moment(loop.last_beat)} for name, loop in loops.items()}
        return JsonResponse({"ok": ok, "loops": states}, status_code=200 if ok else 503, headers=NO_STORE)

    async def readyz(_request: Request) -> Response:
        checks = dict(daemon.readyz())
        ok = all(checks.values())
        return JsonResponse({"ok": ok, "checks": checks}, status_code=200 if ok else 503, headers=NO_STORE)

    return [Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz)]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
