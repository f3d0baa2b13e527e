"""A model of Astra: a secure connect bundle, its metadata service, and a proxy that asks for client certificates."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.unit.http.certificates import Authority

DATACENTER = "eu-west-1"


class AstraModel:
    """A database of one region. `names` are the server names that clients of the proxy have asked for."""

    def __init__(self, directory: Path, *, host_ids: Sequence[str] = ("a", "b"), datacenter: str = DATACENTER) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.authority = Authority(directory, "authority")
        self._certificate, self._key = self.authority.issue("client")
        self.names: list[str | None] = []
        self.status = 200
        self.answer: Any = {
            "contact_info": {"type": "sni_proxy", "local_dc": datacenter, "contact_points": list(host_ids)}
        }
        self.port = 0

    def bundle(self, **changed: bytes | None) -> Path:
        """Write the bundle, with other files where `changed` has them, or without."""
        files: dict[str, bytes | None] = {
            "config.json": json.dumps({"host": "127.0.0.1", "port": self.port, "keyspace": "k"}).encode(),
            "ca.crt": self.authority.file.read_bytes(),
            "cert": self._certificate.read_bytes(),
            "key": self._key.read_bytes(),
            "cqlshrc": b"",
            **{name.replace("_", "."): content for name, content in changed.items()},
        }
        path = self._directory / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                if content is not None:
                    archive.writestr(name, content)
        return path

    def context(self) -> ssl.SSLContext:
        """Return the servers' context: it demands a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue("server"))
        context.load_verify_locations(self.authority.file)
        context.verify_mode = ssl.CERT_REQUIRED

        def note(_socket: Any, name: str | None, _context: Any) -> None:
            self.names.append(name)

        context.sni_callback = note
        return context

    @contextmanager
    def metadata(self) -> Iterator[AstraModel]:
        """Serve the metadata during a block."""
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = model.answer if isinstance(model.answer, bytes) else json.dumps(model.answer).encode()
                self.send_response(model.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass

        server = Server(("127.0.0.1", 0), Handler)
        server.socket = self.context().wrap_socket(server.socket, server_side=True)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @contextmanager
    def proxy(self, host: str, port: int) -> Iterator[None]:
        """Forward decrypted connections to a server during a block, and name this proxy in the metadata."""
        context = self.context()
        listener = socket.create_server(("127.0.0.1", 0))
        self.answer["contact_info"]["sni_proxy_address"] = f"127.0.0.1:{listener.getsockname()[1]}"
        opened: list[socket.socket] = []

        def pump(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while piece := source.recv(1 << 16):
                    target.sendall(piece)
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with suppress(OSError):
                        inner = context.wrap_socket(plain, server_side=True)
                        outer = socket.create_connection((host, port))
                        opened.extend((inner, outer))
                        for pair in ((inner, outer), (outer, inner)):
                            threading.Thread(target=pump, args=pair, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
            for each in opened:
                each.close()
