"""A stand-in for the W&B backend: what wandb 0.31 asks for, on a loopback port, with faults on demand.

The client is the real one; only the far end is ours. It keeps what it was sent, so that tests assert on what the
*server* holds. An operation that it does not know fails by name: `Standin.unknown` lists them.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.worker.wandb.held import Held, HeldRun
from tests.worker.wandb.operations import OPERATIONS

KEY = "k" * 40
Answer = tuple[int, bytes] | str | None


@dataclass(frozen=True)
class Asked:
    """One request.

    Args:
        kind: graphql, stream, upload, download or other.
        op: The GraphQL operation, the run of a stream, the file of an upload.
        body: Parsed JSON for graphql and stream.
        authorization: The header as it came.
    """

    kind: str
    op: str
    body: Any
    authorization: str
    at: float = field(default_factory=time.monotonic)


class Standin:
    """Serves until `stop`.

    Args:
        key: The only API key that is let in.
        fault: Asked before every request: None goes on, (status, body) is answered instead, `hang:SECONDS` waits
            and then drops the connection, `drop` drops it at once, `vanish` drops it and takes the server down.
    """

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.fault: Callable[[Asked], Answer] = lambda _asked: None
        self.held = Held()
        self.asked: list[Asked] = []
        self.unknown: list[str] = []
        self.stops_runs = False
        self.is_down = False
        self._lock = threading.RLock()
        self._hold = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server = self._bound(0)
        self.port = self._server.server_address[1]
        self._serve()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, name: str) -> HeldRun:
        return self.held.runs[name]

    def count(self, op: str) -> int:
        return sum(asked.op == op for asked in list(self.asked))

    def stop(self) -> None:
        """No longer there: the port is closed, and so is every open connection."""
        self._hold.set()
        if not self.is_down:
            self._server.shutdown()
            self._server.server_close()
            self.is_down = True
        with self._lock:
            for each in self._sockets:
                # A kept-alive connection would go on being served.
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._sockets.clear()

    def come_back(self) -> None:
        """There again at the same port, with all that it held; nothing where it never went."""
        if not self.is_down:
            return
        self._hold = threading.Event()
        self._server = self._bound(self.port)
        self.is_down = False
        self._serve()

    def _bound(self, port: int) -> ThreadingHTTPServer:
        standin = self

        class Handler(_Handler):
            owner = standin

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        return server

    def _serve(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def answer(self, asked: Asked, method: str, path: str, raw: bytes) -> Answer:
        with self._lock:
            self.asked.append(asked)
        planned = self.fault(asked)
        if planned is not None:
            return planned
        if asked.kind in ("graphql", "stream") and asked.authorization != self._expected():
            return 401, b'{"errors":[{"message":"invalid api key"}]}'
        with self._lock:
            return self._granted(asked, method, path, raw)

    def _granted(self, asked: Asked, method: str, path: str, raw: bytes) -> Answer:
        if asked.kind == "graphql":
            if asked.op not in OPERATIONS:
                self.unknown.append(asked.op)
                return 400, json.dumps({"errors": [{"message": f"unknown operation {asked.op}"}]}).encode()
            return 200, json.dumps({"data": OPERATIONS[asked.op](self.held, self.url, asked.body)}).encode()
        if asked.kind == "stream":
            self.held.take_stream(asked.op, asked.body)
            return 200, json.dumps({"limits": {}, **({"stopped": True} if self.stops_runs else {})}).encode()
        if asked.kind == "upload":
            self.held.take_file(path, raw)
            return 200, b""
        if asked.kind == "download" and method == "GET":
            found = self.held.blobs.get(path)
            return (404, b"") if found is None else (200, found)
        return 404, b"{}"

    def _expected(self) -> str:
        return "Basic " + base64.b64encode(f"api:{self.key}".encode()).decode()


def operation_in(query: str) -> str:
    found = re.search(r"(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else query[:80]


class _Handler(BaseHTTPRequestHandler):
    owner: Standin
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        with self.owner._lock:
            self.owner._sockets.add(self.connection)

    def finish(self) -> None:
        with self.owner._lock:
            self.owner._sockets.discard(self.connection)
        try:
            super().finish()
        except OSError:
            # The client went away in the middle, or we closed it.
            return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        self._do("POST")

    def do_PUT(self) -> None:
        self._do("PUT")

    def do_GET(self) -> None:
        self._do("GET")

    def _do(self, method: str) -> None:
        raw = self._body()
        path = unquote(urlsplit(self.path).path)
        try:
            asked = self._asked(method, path, raw)
            answer = self.owner.answer(asked, method, path, raw)
        except OSError:
            raise
        except Exception:  # noqa: BLE001
            # As a bare 500 this would look like a fault on purpose, and the client would retry for minutes.
            traceback.print_exc(file=sys.stderr)
            self.owner.unknown.append(f"the stand-in itself failed at {method} {path}")
            answer = 400, b"{}"
        if isinstance(answer, str):
            if answer.startswith("hang:"):
                self.owner._hold.wait(float(answer.partition(":")[2]))
            if answer == "vanish":
                self.owner.stop()
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        assert answer is not None
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asked(self, method: str, path: str, raw: bytes) -> Asked:
        authorization = self.headers.get("Authorization", "")
        if path == "/graphql":
            body = json.loads(raw)
            return Asked("graphql", operation_in(body["query"]), body, authorization)
        if path.endswith("/file_stream"):
            return Asked("stream", path.split("/")[-2], json.loads(raw), authorization)
        kind = "upload" if method == "PUT" else "download" if path.startswith("/blobs/") else "other"
        return Asked(kind, path, None, authorization)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            raw = b"".join(parts)
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def log_message(self, *_arguments: Any) -> None:
        """Quiet: requests are in `asked`."""
