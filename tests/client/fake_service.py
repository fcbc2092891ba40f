"""A small service on a loopback socket that speaks the wire format and misbehaves when told to."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.client.fake_streams import Stream, listed

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
        # How runs ended, by whatever way that was told; `patched` holds those told by changing the run.
        self.statuses: list[str] = []
        self.patched: list[str] = []
        self.streams: dict[str, Stream] = {}
        self.faults: dict[str, deque[Fault]] = {
            "run": deque(), "evaluation": deque(), "status": deque(), "records": deque()
        }  # fmt: skip
        self.always: dict[str, Fault] = {}
        # Answers of the command line's endpoints, by method and path with query; a document or a fault.
        self.routes: dict[str, dict[str, Any] | Fault] = {}
        # A suite whose evaluations the service cannot digest.
        self.poison: str | None = None
        # Records that it refuses the whole batch for, with the status.
        self.poisoned_records: dict[int, int] = {}
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
        if sent := re.fullmatch(r"/api/v1/runs/([^/]+)/streams/([^/]+)/records", request.path):
            with self._lock:
                stream = self.streams.setdefault(sent[2], Stream())
                before = len(stream.others("finish"))
                status, document = stream.take(request.body)
                self.statuses += [end["status"] for end in stream.others("finish")[before:]]
            return ("records" if status == 200 else "409"), document
        if request.method not in ("PUT", "PATCH"):
            return "other", {"title": "not found", "detail": f"nothing is at {request.path}", "status": 404}
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
                self.patched.append(request.body["status"])
            return "status", {"run_id": "x"}
        return "other", {"title": "not found", "detail": f"nothing is at {request.path}", "status": 404}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait for a delayed acknowledgement, 40 ms each time.
    wbufsize = -1
    service: FakeService

    def do_PUT(self) -> None:
        request = self._received()
        route = self.service.routes.get(f"{self.command} {self.path.removeprefix('/api/v1')}")
        if isinstance(route, Fault):
            self._misbehave(route, request)
        elif route is not None:
            self._reply(200, route)
        elif (fault := self._fault(request)) is not None:
            self._misbehave(fault, request)
        else:
            kind, document = self.service.answer(request)
            self._reply({"other": 404, "409": 409}.get(kind, 200), document)

    do_GET = do_PATCH = do_POST = do_DELETE = do_PUT  # noqa: N815 - http.server's names

    def log_message(self, *args: Any) -> None:
        pass

    def _received(self) -> Request:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        is_json = self.headers.get("content-type") == "application/json"
        request = Request(
            method=self.command,
            path=self.path,
            headers={key.lower(): value for key, value in self.headers.items()},
            body=json.loads(content) if is_json else content.decode(),
        )
        self.service.requests.append(request)
        return request

    def _fault(self, request: Request) -> Fault | None:
        if self.path.endswith("/records"):
            held = {
                idx for block in request.body["blocks"] for idx in listed(block["idx"], len(block["times"]))
            }
            for idx, status in self.service.poisoned_records.items():
                if idx in held:
                    return problem(status, f"record {idx} cannot be")
            return self.service.fault("records")
        if self.command not in ("PUT", "PATCH"):
            return None
        if "/evaluations/" in self.path and request.body["suite"] == self.service.poison:
            return Fault(status=500)
        kinds = {"/projects/": "run", "/evaluations/": "evaluation"}
        return self.service.fault(next((kinds[part] for part in kinds if part in self.path), "status"))

    def _misbehave(self, fault: Fault, request: Request) -> None:
        if fault.after:
            self.service.answer(request)
        if fault.hang:
            self.service.released.wait(60)
        if fault.hang or fault.drop:
            self.close_connection = True
        else:
            self._reply(fault.status, fault.body, fault.headers)

    def _reply(
        self, status: int, body: str | dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in (headers or {"content-type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running(service: FakeService) -> Iterator[FakeService]:
    """The service on a free port, until the block ends."""
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
