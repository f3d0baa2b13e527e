"""The daemon says which search engine it found, and does not start on one that it does not support."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage


class _Old(BaseHTTPRequestHandler):
    """Answers `GET /` as Elasticsearch 6.8 does."""

    def do_GET(self) -> None:
        body = json.dumps({"version": {"number": "6.8.23"}, "tagline": "You Know, for Search"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def old() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Old)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def shown_labels(shown: dict[str, str]) -> dict[str, str]:
    """Return the labels of the metric that shows the same engine as the status."""
    return {name: shown[name] for name in ("engine", "version")}


@pytest.mark.other_engines
def test_the_engine_is_shown_and_an_old_one_is_refused_at_the_start(stage: Stage, old: str) -> None:
    node = stage.box.elasticsearch
    stage.table("t", "id int PRIMARY KEY, v int")
    stage.daemon.config["search"] = stage.daemon.config.pop("elasticsearch")
    stage.daemon.run()
    shown = stage.daemon.status()["elasticsearch"]
    assert (shown["engine"].lower(), shown["version"]) == (node.engine.name, node.version)
    wait_for("the metric", lambda: stage.daemon.metric("search_engine_info", **shown_labels(shown)) == 1)
    assert stage.daemon.stop() == 0

    stage.daemon.config["search"]["hosts"] = [old]
    stage.daemon.start()
    assert stage.daemon.wait_exit(120) == 2
    told = stage.daemon.log_text()
    assert "expected Elasticsearch 7.10 to 9 and OpenSearch 1.3 to 3, found Elasticsearch 6.8.23" in told
    assert "Traceback" not in told
