"""Receivers of notices on this machine: HTTP and SMTP, each keeping what it was sent."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.0/8"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """Args:
    answer: (status, headers) of the next answer.
    asked_for: host:port of each connection that somebody wanted through it as a proxy.
    """

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer: Callable[[], tuple[int, dict[str, str]]] = lambda: (200, {})
    asked_for: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(path=self.path, headers=headers, body=body))
            status, more = receiver.answer()
            self.send_response(status)
            for name, value in {"content-length": "0", **more}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_CONNECT(self) -> None:
            # As a proxy that lets nobody through: where they wanted to go is all that can be seen.
            receiver.asked_for.append(self.path)
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@dataclass
class SmtpReceiver:
    """Args:
    is_full: Whether it takes no letters.
    """

    port: int = 0
    letters: list[str] = field(default_factory=list)
    is_full: bool = False


@contextmanager
def smtp_receiver() -> Iterator[SmtpReceiver]:
    receiver = SmtpReceiver()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline():
                word = line.decode().strip().upper()
                if word == "DATA" and receiver.is_full:
                    self._say("552 full")
                    continue
                if word == "DATA":
                    self._say("354 go on")
                    letter = []
                    while (part := self.rfile.readline().decode()) != ".\r\n":
                        letter.append(part)
                    receiver.letters.append("".join(letter))
                self._say("221 bye" if word == "QUIT" else "250 fine")
                if word == "QUIT":
                    return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
