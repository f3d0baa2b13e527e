"""Events reach the webhook signed and once, whatever the receiver does, and nothing reaches anybody else."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cdc_daemon.config.webhook import WebhookSettings
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.webhook import sender
from cdc_daemon.telemetry.webhook.notices import Notice
from cdc_daemon.telemetry.webhook.sender import MOST_WAITING, Webhook
from tests.unit.telemetry.webhook.receiver import OK, SECRET, Receiver, answering, receiving, until

CHECKOUT = Path(__file__).parents[4]
LETTER = Notice("dead_letter", "warning", "A change.", "cdcdeadlettersgrowing", 2, {"reasons": {"x": 2}})
GAP = Notice("gap", "warning", "A gap.", "cdcgapfound")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.01)


def settings_of(url: str | None, **more: Any) -> WebhookSettings:
    if url is None:
        return WebhookSettings()
    return WebhookSettings(url=SecretStr(url), secret=SecretStr(SECRET), **more)


class Running:
    """A webhook that runs, with its metrics."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.metrics = Metrics()
        self.status: Mapping[str, Any] = {"state": "running"}
        self.webhook = Webhook(settings, self.metrics, node="node-1", status=lambda: self.status)

    def count(self, event: str, result: str) -> float | None:
        labels = {"event": event, "result": result}
        return self.metrics.registry.get_sample_value("cdc_daemon_webhook_posts_total", labels)

    @property
    def waiting(self) -> float | None:
        return self.metrics.registry.get_sample_value("cdc_daemon_webhook_waiting")


@asynccontextmanager
async def running(url: str | None, **more: Any) -> AsyncIterator[Running]:
    found = Running(settings_of(url, **more))
    task = asyncio.create_task(found.webhook.run())
    try:
        yield found
        assert not task.done(), "whatever happens, the webhook does not end the daemon"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_event_is_posted_signed_and_once() -> None:
    async with receiving(Receiver()) as receiver, running(receiver.url) as daemon:
        daemon.webhook.add(LETTER)
        daemon.webhook.add(GAP)
        await until(lambda: daemon.count("gap", "delivered"))
    first, second = receiver.posts
    assert first.path == "/a-key-in-the-path"
    assert first.signed
    assert second.signed
    assert first.headers["content-type"] == "application/json"
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 3600
    event = first.event
    assert event["id"] == first.headers["webhook-id"] != second.headers["webhook-id"]
    assert (event["event"], event["severity"], event["count"]) == ("dead_letter", "warning", 2)
    assert (event["text"], event["node"], event["details"]) == ("A change.", "node-1", {"reasons": {"x": 2}})
    assert event["runbook"] == "docs/runbook.md#cdcdeadlettersgrowing"
    assert (daemon.count("dead_letter", "delivered"), daemon.waiting) == (1, 0)


async def test_a_new_dead_letter_is_noticed_in_the_metrics() -> None:
    async with receiving(Receiver()) as receiver, running(receiver.url) as daemon:
        daemon.metrics.dead_letters.labels("document_parsing_exception").inc(3)
        await until(lambda: receiver.posts)
    assert receiver.posts[0].event["details"] == {"reasons": {"document_parsing_exception": 3}}


@pytest.mark.parametrize("status", ["500 Internal Server Error", "429 Too Many Requests", "403 Forbidden"])
async def test_a_refused_event_is_posted_again_with_the_same_id(status: str) -> None:
    answers = (answering(status), answering(status), OK)
    with capture_logs() as lines:
        async with receiving(Receiver(*answers)) as receiver, running(receiver.url) as daemon:
            daemon.webhook.add(LETTER)
            await until(lambda: daemon.count("dead_letter", "delivered"))
    assert len(receiver.posts) == 3
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert daemon.count("dead_letter", "failed") == 2
    assert {(line["event"], line["host"], line["problem"]) for line in lines} == {
        ("webhook.failed", "127.0.0.1", f"expected status 2xx, found {status[:3]}")
    }


async def test_a_receiver_that_is_down_gets_the_event_later(unused_tcp_port: int) -> None:
    with capture_logs() as lines:
        async with running(f"http://127.0.0.1:{unused_tcp_port}/a-key-in-the-path") as daemon:
            daemon.webhook.add(LETTER)
            await until(lambda: (daemon.count("dead_letter", "failed") or 0) >= 3)
            assert daemon.waiting == 1
            async with receiving(Receiver(), unused_tcp_port) as receiver:
                await until(lambda: daemon.count("dead_letter", "delivered"))
    assert receiver.posts[0].signed
    assert not [line for line in lines if "a-key" in str(line) or SECRET in str(line)]


async def test_a_receiver_that_hangs_is_given_up_after_the_timeout() -> None:
    receiver = Receiver()
    receiver.hangs = True
    async with receiving(receiver), running(receiver.url, timeout=0.2) as daemon:
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "failed"))
        receiver.hangs = False
        await until(lambda: daemon.count("dead_letter", "delivered"))


async def test_a_redirect_is_not_followed() -> None:
    async with receiving(Receiver()) as other:
        redirect = answering("307 Temporary Redirect", f"Location: {other.url}")
        async with receiving(Receiver(redirect)) as receiver, running(receiver.url) as daemon:
            daemon.webhook.add(LETTER)
            await until(lambda: (daemon.count("dead_letter", "failed") or 0) >= 2)
    assert other.posts == []


async def test_a_huge_answer_is_not_read() -> None:
    huge = answering("200 OK", body=b"x" * 50_000_000)
    async with receiving(Receiver(huge)) as receiver, running(receiver.url) as daemon:
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "delivered"))
    # What the buffers of the two sockets take.
    assert receiver.sent < 25_000_000


async def test_an_answer_that_is_no_http_is_a_failure() -> None:
    async with (
        receiving(Receiver(b"220 mail.example.org ESMTP\r\n\r\n", OK)) as receiver,
        running(receiver.url) as daemon,
    ):
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "delivered"))
    assert daemon.count("dead_letter", "failed") == 1


async def test_the_queue_is_bounded_and_the_oldest_is_dropped(unused_tcp_port: int) -> None:
    with capture_logs() as lines:
        async with running(f"http://127.0.0.1:{unused_tcp_port}") as daemon:
            daemon.webhook.add(GAP)
            for _ in range(MOST_WAITING + 9):
                daemon.webhook.add(LETTER)
            assert daemon.waiting == MOST_WAITING
            assert daemon.count("gap", "dropped") == 1
            assert daemon.count("dead_letter", "dropped") == 9
    assert len([line for line in lines if line["event"] == "webhook.dropped"]) == 10


async def test_an_event_is_given_up_when_it_is_too_old(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setattr(sender, "LONGEST_AGE", 0.05)
    async with running(f"http://127.0.0.1:{unused_tcp_port}") as daemon:
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "dropped"))
        await until(lambda: daemon.waiting == 0)


async def test_another_url_is_used_at_once_and_none_forgets_what_waits(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 3600.0)
    async with receiving(Receiver()) as receiver, running(f"http://127.0.0.1:{unused_tcp_port}") as daemon:
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "failed"))
        daemon.webhook.configure(settings_of(receiver.url))
        await until(lambda: daemon.count("dead_letter", "delivered"))
        daemon.webhook.configure(settings_of(None))
        daemon.metrics.gaps.labels("missing").inc()
        daemon.webhook.configure(settings_of(receiver.url))
        daemon.webhook.add(LETTER)
        await until(lambda: daemon.count("dead_letter", "delivered") == 2)
    # What happened while there was no URL is not posted.
    assert [post.event["event"] for post in receiver.posts] == ["dead_letter"] * 2


async def test_a_defect_in_the_search_for_events_ends_nothing() -> None:
    with capture_logs() as lines:
        async with receiving(Receiver()) as receiver, running(receiver.url) as daemon:
            daemon.status = None  # type: ignore[assignment]
            await until(lambda: [line for line in lines if line["event"] == "webhook.defect"])
            daemon.webhook.add(LETTER)
            await until(lambda: daemon.count("dead_letter", "delivered"))


def documented_receiver() -> str:
    text = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"<!-- receiver -->\n```python\n(.*?)```", text, re.DOTALL)
    return str(found)


async def test_the_documented_receiver_verifies_the_signature(unused_tcp_port: int) -> None:
    environment = {**os.environ, "SECRET": SECRET, "PORT": str(unused_tcp_port)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", documented_receiver()),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with running(f"http://127.0.0.1:{unused_tcp_port}") as daemon:
            daemon.webhook.add(LETTER)
            await until(lambda: daemon.count("dead_letter", "delivered"))
            other = WebhookSettings(url=SecretStr(f"http://127.0.0.1:{unused_tcp_port}"), secret=SecretStr("x" * 20))
            daemon.webhook.configure(other)
            daemon.webhook.add(GAP)
            await until(lambda: daemon.count("gap", "failed"))
    finally:
        process.kill()
        output, _ = await process.communicate()
    printed = output.decode().splitlines()
    assert '"event": "dead_letter"' in printed[0]
    assert printed[1] == "not from the daemon"
