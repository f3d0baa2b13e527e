"""A proxy on the way to the search engine answers in its place, with status 200 and JSON of another shape."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.servers import paging_requests

SHAPES: tuple[Any, ...] = ([], None, {"x": True}, {"items": [None], "errors": False, "docs": [7], "hits": {"hits": 1}})


class Proxy(ThreadingHTTPServer):
    """Forwards to the search engine. Of each kind of request the next answer is replaced where `shape` is set."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.lock = threading.Lock()
        self.shape: Any = None
        self.spared: set[str] | None = None
        self.replaced: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def replace_next_of_each(self, shape: Any) -> None:
        with self.lock:
            self.shape, self.spared = shape, set()

    def forward(self) -> None:
        with self.lock:
            self.spared = None

    def replaces(self, kind: str) -> bool:
        with self.lock:
            if self.spared is None or kind in self.spared or kind.startswith("HEAD"):
                return False
            self.spared.add(kind)
            self.replaced.add(kind)
            return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        if answer.status == 200 and self.server.replaces(f"{self.command} {kind_of(self.path)}"):
            found = json.dumps(self.server.shape).encode()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_CONNECTION | {"content-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 -- as the base class wants it

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


_OF_CONNECTION = {"content-length", "transfer-encoding", "connection", "accept-encoding", "host"}


def kind_of(path: str) -> str:
    """Return a request's path by its kind: the part that names what is asked of an index."""
    parts = re.findall(r"/(_[a-z_]+)", path.partition("?")[0])
    return parts[0] if parts else "index"


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


@pytest.fixture
def proxy(stage: Stage) -> Iterator[Proxy]:
    with proxy_to(stage.box.elasticsearch.url) as proxy:
        stage.daemon.config["elasticsearch"]["hosts"] = [proxy.url]
        yield proxy


@pytest.mark.other_engines
def test_answers_of_another_shape_end_nothing_at_the_start_and_while_it_runs(stage: Stage, proxy: Proxy) -> None:
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.table("parts", "p int, c int, v int, PRIMARY KEY (p, c)")
    for shape in SHAPES:
        proxy.replace_next_of_each(shape)
        stage.daemon.run()
        stage.daemon.stop()
    assert {"GET _alias", "GET _mapping", "GET _settings"} <= proxy.replaced

    proxy.forward()
    proxy.replaced.clear()
    stage.daemon.run()
    for number, shape in enumerate(SHAPES):
        for each in range(3):
            stage.execute("INSERT INTO {ks}.parts (p, c, v) VALUES (%s, %s, 0)", [number, each])
        stage.settle()
        proxy.replace_next_of_each(shape)
        stage.execute("INSERT INTO {ks}.t (id, v) VALUES (%s, 0)", [number])
        stage.execute("DELETE FROM {ks}.parts WHERE p = %s", [number])
        stage.execute("DELETE FROM {ks}.t WHERE id = %s", [number - 1])
        stage.settle()
        wait_for("the documents of the partition to be gone", lambda: not stage.documents("parts"))
        proxy.forward()
    assert {"GET _alias", "POST _bulk", "POST _refresh"} | paging_requests() <= proxy.replaced
    stage.assert_equal("t", "parts")
    stage.assert_nothing_set_aside()
    assert stage.daemon.alive
    told = [line for line in stage.daemon.log() if "unexpected shape" in json.dumps(line)]
    assert told
    assert not [line for line in stage.daemon.log() if "Traceback" in json.dumps(line)]
    assert stage.daemon.stop() == 0
