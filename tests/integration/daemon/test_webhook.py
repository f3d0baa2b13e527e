"""A dead letter of a real daemon reaches the webhook, signed, and a reload switches the webhook off."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage
from tests.unit.telemetry.webhook.receiver import SECRET, Post

DATED = {"dynamic": "strict", "properties": {"id": {"type": "integer"}, "day": {"type": "date"}}}


@contextmanager
def receiving(posts: list[Post]) -> Iterator[str]:
    """Collect posts during a block; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posts.append(Post(self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a-key-in-the-path"
        finally:
            server.shutdown()
            thread.join()


def refused(posts: list[Post]) -> int:
    """Return how many refused documents were posted. What earlier tests left in the log may be posted too."""
    reasons = [post.event["details"].get("reasons", {}) for post in posts]
    return sum(count for each in reasons for reason, count in each.items() if reason == "document")


def test_a_dead_letter_reaches_the_webhook(stage: Stage) -> None:
    posts: list[Post] = []
    stage.table("user", "id int PRIMARY KEY, day text", mappings=DATED)
    with receiving(posts) as url:
        stage.daemon.config["webhook"] = {"url": url, "secret": SECRET, "every": "1s"}
        stage.daemon.run()
        stage.execute("INSERT INTO {ks}.user (id, day) VALUES (1, 'yesterday')")
        wait_for("the event", lambda: refused(posts) == 1)
        assert all(post.signed for post in posts)
        assert not any(b"yesterday" in post.body for post in posts)
        wait_for("its count", lambda: stage.daemon.metric("webhook_posts_total", result="delivered"))

        del stage.daemon.config["webhook"]
        stage.daemon.config_path.write_text(yaml.safe_dump(stage.daemon.written_config()))
        result = CliRunner().invoke(app, ["reload", "--config", str(stage.daemon.config_path)])
        assert result.exit_code == 0, result.output
        assert "sections changed: webhook" in result.stdout
        assert len(stage.daemon.events("daemon.running")) == 1
        letters = stage.daemon.metric("dead_letters_total")
        stage.execute("INSERT INTO {ks}.user (id, day) VALUES (2, 'tomorrow')")
        wait_for("the second letter", lambda: stage.daemon.metric("dead_letters_total") > letters)
        stage.settle()
    assert refused(posts) == 1
    assert stage.daemon.stop() == 0
    assert "a-key-in-the-path" not in stage.daemon.log_text()
    assert SECRET not in stage.daemon.log_text()
