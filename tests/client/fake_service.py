"""A small service on a loopback socket that speaks the wire format and misbehaves when told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT_TOKEN = "trn_project0_secret"


@dataclass
class Fault:
    """An answer instead of the real one. `hang` holds the connection; `drop` closes it without a word."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    # Do the work first, then misbehave: the answer is lost, not the request.
    after: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


def problem(status: int, detail: str, **members: Any) -> Fault:
    """A refusal as the service writes it."""
    body = json.dumps({"title": "refused", "status": status, "detail": detail, **members})
    return Fault(status=status, body=body, headers={"content-type": "application/problem+json"})


class FakeService:
    """Keeps what it was sent; `faults["run"]` and `faults["evaluation"]` are used up one by one."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.evaluations: dict[str, dict[str, Any]] = {}
        self.statuses: list[str] = []
        self.faults: dict[str, deque[Fault]] = {"run": deque(), "evaluation": deque(), "status": deque()}
        self.always: dict[str, Fault] = {}
        # Answers of the command line's endpoints, by method and path with query; a document or a fault.
        self.routes: dict[str, dict[str, Any] | Fault] = {}
        self.gate = "open"
        self.released = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def fault(self, kind: str) -> Fault | None:
        with self._lock:
            return self.faults[kind].popleft() if self.faults[kind] else self.always.get(kind)

    def count(self, kind: str) -> int:
        pattern = {"run": r"/runs/[^/]+$", "evaluation": r"/evaluations/"}[kind]
        return sum(1 for item in self.requests if item.method == "PUT" and re.search(pattern, item.path))

    def answer(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The kind of request and the real answer to it."""
        if run := re.fullmatch(r"/api/v1/projects/([^/]+)/runs/([^/]+)", request.path):
            key = run[2]
            with self._lock:
                self.runs[key] = request.body
            return "run", {
                "run_id": f"id-of-{key}",
                "run_key": key,
                "project": run[1],
                "attempt": 1,
                "run_token": f"trn_run_{key}",
                "limits": {"body_bytes": 8388608, "values_per_evaluation": 5000},
                "server_time": "2026-01-01T00:00:00Z",
            }
        if sent := re.fullmatch(r"/api/v1/runs/([^/]+)/evaluations/([^/]+)", request.path):
            with self._lock:
                self.evaluations[sent[2]] = request.body
            return "evaluation", {
                "evaluation": sent[2],
                "gate": self.gate,
                "sentence": f"The gate is {self.gate}.",
                "baseline": None,
                "policy_version": 1,
                "checks": [],
                "aggregates": [],
            }
        if re.fullmatch(r"/api/v1/runs/[^/]+", request.path):
            with self._lock:
                self.statuses.append(request.body["status"])
            return "status", {"run_id": "x"}
        return "other", {}


@contextmanager
def running(service: FakeService) -> Iterator[FakeService]:
    """The service on a free port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: two would wait for a delayed acknowledgement, 40 ms each time.
        wbufsize = -1

        def do_PUT(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            is_json = self.headers.get("content-type") == "application/json"
            request = Request(
                method=self.command,
                path=self.path,
                headers={key.lower(): value for key, value in self.headers.items()},
                body=json.loads(content) if is_json else content.decode(),
            )
            service.requests.append(request)
            route = service.routes.get(f"{self.command} {self.path.removeprefix('/api/v1')}")
            if route is not None:
                if isinstance(route, Fault):
                    self._reply(route.status, route.body, route.headers)
                else:
                    self._reply(200, json.dumps(route), {"content-type": "application/json"})
                return
            kind = (
                "run"
                if "/projects/" in self.path
                else "evaluation"
                if "/evaluations/" in self.path
                else "status"
            )
            fault = service.fault(kind)
            if fault is None:
                self._reply(200, json.dumps(service.answer(request)[1]), {"content-type": "application/json"})
                return
            if fault.after:
                service.answer(request)
            if fault.hang:
                service.released.wait(60)
            if fault.hang or fault.drop:
                self.close_connection = True
                return
            self._reply(fault.status, fault.body, fault.headers)

        do_GET = do_PATCH = do_POST = do_PUT

        def _reply(self, status: int, body: str, headers: dict[str, str]) -> None:
            content = body.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for something that another thread does; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
