"""Posts notices to the webhook: in order, signed, again after a failure, and never in the way of the daemon."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from yarl import URL

from cdc_daemon import __version__
from cdc_daemon.config.webhook import EVENTS, WebhookSettings
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.webhook.notices import Notice, NoticeFinder
from cdc_daemon.telemetry.webhook.signature import sign

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between two looks for notices."""

MOST_WAITING = 100
"""Notices in memory. Beyond it the oldest is dropped."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds between two attempts to post one notice. The pause grows from the first to the second."""

LONGEST_AGE = 6 * 3600.0
"""Seconds after which a notice is given up."""

_SAID_AGAIN = 300.0


@dataclass(slots=True)
class _Waiting:
    notice: Notice
    created: float = field(default_factory=time.time)
    identity: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")


class Webhook:
    """Looks for notices and posts them while `run` runs. Whatever the receiver does, it raises nothing.

    `status` returns the daemon's status, `node` is its name in the events. Notices are kept in memory, so those that
    wait are lost if the daemon ends.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        metrics: Metrics,
        *,
        node: str,
        status: Callable[[], Mapping[str, Any]],
        quarantined: int = 0,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._node = node
        self._status = status
        self._finder = NoticeFinder(metrics, settings, quarantined=quarantined)
        self._waiting: deque[_Waiting] = deque()
        self._added = asyncio.Event()
        self._changed = asyncio.Event()
        metrics.webhook_waiting.set(0)
        for event in EVENTS:
            for result in ("delivered", "failed", "dropped"):
                metrics.webhook_posts.labels(event, result)

    def configure(self, settings: WebhookSettings) -> None:
        """Go by other settings from now on. With a new URL, what happened before is not posted."""
        began = self._settings.url is None and settings.url is not None
        self._settings = settings
        self._finder.configure(settings)
        self._changed.set()
        if settings.url is None:
            self._waiting.clear()
            self._metrics.webhook_waiting.set(0)
        if began:
            self._finder.look(time.monotonic(), self._status())

    async def run(self) -> None:
        """Look and post until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._look), name="webhook-look")
            tasks.create_task(self._repeat(self._post_next), name="webhook-post")

    async def _repeat(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except Exception:
                # A defect here must not end the replication.
                log.exception("webhook.defect", every=_SAID_AGAIN)
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        if self._settings.url is not None:
            for notice in self._finder.look(time.monotonic(), self._status()):
                self.add(notice)

    def add(self, notice: Notice) -> None:
        """Post a notice later, in turn. If too many wait, the oldest is dropped."""
        if len(self._waiting) >= MOST_WAITING:
            self._drop(self._waiting.popleft(), "expected a receiver that keeps up, found too many waiting events")
        self._waiting.append(_Waiting(notice))
        self._metrics.webhook_waiting.set(len(self._waiting))
        self._added.set()

    async def _post_next(self) -> None:
        """Post the oldest notice, again and again until the receiver has it, it is dropped, or it is too old."""
        self._added.clear()
        if not self._waiting:
            await self._added.wait()
            return
        first = self._waiting[0]
        backoff = Backoff(first=FIRST_PAUSE, last=LONGEST_PAUSE)
        while self._waiting and self._waiting[0] is first:
            problem = await self._post(first)
            if not (self._waiting and self._waiting[0] is first):
                return  # dropped meanwhile
            if problem is None:
                self._waiting.popleft()
                self._count(first, "delivered")
            elif time.time() - first.created > LONGEST_AGE:
                self._drop(self._waiting.popleft(), problem)
            else:
                self._count(first, "failed")
                log.warning("webhook.failed", host=self._host(), problem=problem, every=_SAID_AGAIN)
                await self._pause(backoff.next())
        self._metrics.webhook_waiting.set(len(self._waiting))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a change of the configuration."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _post(self, waiting: _Waiting) -> str | None:
        """Post a notice once; return why that failed, or None. A redirect is not followed, an answer is not read."""
        settings = self._settings
        if settings.url is None or settings.secret is None:
            return "expected a URL, found none since the configuration was reloaded"
        body = self._body(waiting)
        headers = {
            "content-type": "application/json",
            "user-agent": f"cdc-daemon/{__version__}",
            **sign(settings.secret.get_secret_value(), waiting.identity, int(time.time()), body),
        }
        try:
            context = await asyncio.to_thread(_tls_context, settings.ca_file)
            async with (
                asyncio.timeout(settings.timeout),
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, force_close=True),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.post(
                    URL(settings.url.get_secret_value()), data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
                answer.close()
        except TimeoutError:
            return f"expected an answer within {settings.timeout:g} s, found none"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"expected an answer, found {type(error).__name__}"  # its text may contain the URL
        return None if 200 <= status < 300 else f"expected status 2xx, found {status}"

    def _body(self, waiting: _Waiting) -> bytes:
        notice = waiting.notice
        content = {
            "id": waiting.identity,
            "event": notice.event,
            "severity": notice.severity,
            "text": notice.text,
            "count": notice.times,
            "time": datetime.fromtimestamp(waiting.created, UTC).isoformat(timespec="milliseconds"),
            "node": self._node,
            "version": __version__,
            "runbook": f"docs/runbook.md#{notice.runbook}",
            "details": dict(notice.details),
        }
        return json.dumps(content).encode()

    def _drop(self, waiting: _Waiting, problem: str) -> None:
        self._count(waiting, "dropped")
        log.error("webhook.dropped", notice=waiting.notice.event, text=waiting.notice.text, problem=problem)

    def _count(self, waiting: _Waiting, result: str) -> None:
        self._metrics.webhook_posts.labels(waiting.notice.event, result).inc()

    def _host(self) -> str | None:
        url = self._settings.url
        return None if url is None else urlsplit(url.get_secret_value()).hostname


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
