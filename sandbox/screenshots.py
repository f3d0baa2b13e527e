"""`python -m sandbox.screenshots`: pictures of the status page for docs/, of a real daemon before real servers."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import random
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cassandra.cluster import Session
from PIL import Image
from playwright.sync_api import Browser, Page

from cdc_daemon.model.errors import CdcError
from sandbox.browser import chromium
from sandbox.cache import CHECKOUT
from sandbox.demo.schema import create_schema, make_config
from sandbox.demo.writer import Writer
from sandbox.errors import SandboxError
from sandbox.ports import PortReservation
from sandbox.sandbox import Sandbox

_TOKEN = "screenshots"  # noqa: S105 -- of a daemon that lives for minutes, on this machine only
_NODE = "cassandra-0"
_COLOURS = 256
_LARGEST = 200_000
_DEADLINE = 120.0
_FRESH = 2.0
_SMALL = {"number_of_shards": 1, "number_of_replicas": 0}
_TABLES = {
    "course_batch": "courseid text, batchid text, name text, status int, PRIMARY KEY (courseid, batchid)",
    "user_enrolments": "userid text, courseid text, batchid text, progress int, enrolleddate text, "
    "PRIMARY KEY (userid, courseid, batchid)",
}
_MAPPINGS = {
    "batch": {"table": "sunbird.course_batch", "alias": "course-batch", "settings": _SMALL},
    "user_course": {
        "table": "sunbird.user_enrolments",
        "alias": "user-courses",
        "settings": _SMALL,
        "field_types": {"enrolleddate": {"type": "date"}},
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Start servers, a daemon and some load, and take the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.screenshots", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0, help="how long the daemon works before (%(default)g)")
    parser.add_argument("--rate", type=int, default=60, help="rows written a second (%(default)s)")
    parser.add_argument("--into", type=Path, default=CHECKOUT / "docs", help="folder of the pictures (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        _take(chosen.into, seconds=chosen.seconds, rate=chosen.rate)
    except CdcError as problem:
        print(f"screenshots: {problem}", file=sys.stderr)
        return 1
    return 0


def _take(folder: Path, *, seconds: float, rate: int) -> None:
    ports = PortReservation()
    with Sandbox(progress=_say) as box, box.connect() as session:
        create_schema(session)
        for name, columns in _TABLES.items():
            session.execute(f"CREATE TABLE sunbird.{name} ({columns}) WITH cdc = true")
        url = _start_daemon(box, ports.reserve())
        with _load(session, rate), chromium(progress=_say) as browser:
            _say(f"working for {seconds:g} s ...")
            time.sleep(seconds * 0.6)
            box.elasticsearch.stop()
            time.sleep(15)
            box.elasticsearch.start()
            box.elasticsearch.wait_ready()
            _set_aside(session)
            time.sleep(seconds * 0.4)
            _wait(url, lambda status: (status["freshness"]["p99"] or _DEADLINE) < _FRESH, seconds=2 * _DEADLINE)
            _ask(url, "user-000001", "user-000002")
            _ask(url, *(f"user-{number:06}" for number in range(800)), operationType="async")
            _order(url, "admin/backfill", {"types": ["user"], "rate": 150})
            _wait(url, lambda status: any(job["fraction"] > 0.3 for job in status["jobs"]), seconds=_DEADLINE)
            folder.mkdir(exist_ok=True)
            with _page(browser, url, width=1280, height=900) as page:
                _save(page, folder / "status-light.png", full=True)
            with _page(browser, url, width=360, height=780, device_scale_factor=2, is_mobile=True) as page:
                _save(page, folder / "status-phone.png", full=False)
            box.elasticsearch.stop()
            time.sleep(25)
            with _page(browser, url, width=1280, height=900, color_scheme="dark") as page:
                _save(page, folder / "status-dark.png", full=False)
    ports.close()


def _start_daemon(box: Sandbox, port: int) -> str:
    home = box.directory / "daemon"
    home.mkdir()
    config = make_config(box.describe(), state_directory=home / "state", port=port)
    digest = hashlib.sha256(_TOKEN.encode()).hexdigest()
    token = {"name": "operator", "hash": f"sha256:{digest}", "scopes": ["admin", "sync"]}
    config["http"] = {"port": port, "contract": "lenient", "auth": {"tokens": [token]}}
    config["mappings"] |= _MAPPINGS
    file = home / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("cdc-daemon")), "run", "--config", str(file)]
    daemon = box.add("daemon", command, output=home / "daemon.log")
    daemon.start()
    url = f"http://127.0.0.1:{port}/"
    until = time.monotonic() + _DEADLINE
    while _status(url).get("state") != "running":
        if time.monotonic() > until or not daemon.alive:
            raise SandboxError(f"the daemon does not run\n{(home / 'daemon.log').read_text()[-3000:]}")
        time.sleep(0.2)
    return url


def _status(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}status", timeout=5) as answer:  # noqa: S310 -- our own
            status: dict[str, Any] = json.load(answer)
            return status
    except OSError:
        return {}


def _wait(url: str, holds: Callable[[dict[str, Any]], bool], *, seconds: float) -> None:
    """Wait for the daemon's status to be as wanted; on a busy machine the picture is taken all the same."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not holds(_status(url)):
        time.sleep(1)


def _ask(url: str, *ids: str, **more: str) -> None:
    _order(url, "sync", {"params": {}, "request": {"objectType": "user", "objectIds": ids, **more}})


def _order(url: str, path: str, body: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), headers)  # noqa: S310 -- our own
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310 -- our own
        pass


@contextmanager
def _load(session: Session, rate: int) -> Iterator[None]:
    """Run an application that writes for the time of a block."""
    writer = Writer(session, rate=rate, source=random.Random(1))  # noqa: S311 -- no secret
    loop = asyncio.new_event_loop()
    other = threading.Event()

    def enrol() -> None:
        for number in range(10**9):
            key = (f"user-{number % 700:06}", f"do_{number % 40}", "0130")
            session.execute(
                "INSERT INTO sunbird.user_enrolments (userid, courseid, batchid, progress, enrolleddate) "
                "VALUES (%s, %s, %s, %s, '2026-01-15')",
                (*key, number % 100),
            )
            if number % 50 == 0:
                batch = "INSERT INTO sunbird.course_batch (courseid, batchid, name) VALUES (%s, '0130', %s)"
                session.execute(batch, (f"do_{number % 40}", f"batch {number}"))
            if other.wait(0.1):
                return

    threads = [threading.Thread(target=loop.run_until_complete, args=[writer.run()]), threading.Thread(target=enrol)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        other.set()
        loop.call_soon_threadsafe(writer.stop)
        for thread in threads:
            thread.join()
        loop.close()


def _set_aside(session: Session) -> None:
    """Write what Elasticsearch takes no document of."""
    for user in ("user-000017", "user-000204"):
        session.execute(
            "INSERT INTO sunbird.user_enrolments (userid, courseid, batchid, progress, enrolleddate) "
            "VALUES (%s, 'do_legacy', '0130', 3, 'yesterday')",
            [user],
        )


@contextmanager
def _page(browser: Browser, url: str, *, width: int, height: int, **options: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Token with the scope admin").fill(_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#letters tbody tr").first.wait_for()
    page.locator(".chart svg").first.wait_for()
    # The machine's own name is nobody's business.
    page.evaluate(
        """name => {
            const own = document.getElementById("node");
            own.before(Object.assign(document.createElement("span"), { textContent: name }));
            own.hidden = true;
            document.activeElement.blur();
            scrollTo(0, 0);
        }""",
        _NODE,
    )
    page.wait_for_timeout(2500)
    yield page
    context.close()


def _save(page: Page, file: Path, *, full: bool) -> None:
    picture = Image.open(io.BytesIO(page.screenshot(full_page=full))).convert("RGB")
    picture.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    if size > _LARGEST:
        raise SandboxError(f"expected a picture of at most {_LARGEST} bytes, found {size} in {file.name}")
    _say(f"{file.name}: {picture.width} x {picture.height}, {size // 1000} kB")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
