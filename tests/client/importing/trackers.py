"""Stand-ins for the services of other trackers, on loopback sockets, with answers in their real form."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DATA = Path(__file__).parent / "data"
KEY = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    document: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Tracker:
    """What every stand-in has: what it was asked, and troubles that are used up one by one."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.troubles: deque[Answer] = deque()

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def respond(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.troubles.popleft() if self.troubles else self.answer(asked)


class Wandb(Tracker):
    """The GraphQL interface of W&B, for runs of one project.

    As the real one does, it gives the rows with minStep ≤ _step < maxStep, thinned evenly where there are more than
    asked for, each row as JSON text in which what is not finite is a word; and of a run only the fields that a query
    names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[dict[str, Any], list[str]]] = []
        self.events: list[str] = []
        # Called with the first step of a page of history before it is given.
        self.before_page: Callable[[int], object] = lambda _step: None

    def add_recorded(self, **changes: Any) -> None:
        """The run that the real client wrote."""
        kept = json.loads((DATA / "wandb" / "run.json").read_text(encoding="utf-8"))
        # The client sends NaN as JSON does not know it, and reading it back takes only words.
        self.runs.append(({**kept["run"], **changes}, [_worded(line) for line in kept["history"]]))

    def add(self, name: str, rows: list[dict[str, Any]], **fields: Any) -> None:
        last = max((row["_step"] for row in rows), default=-1)
        node = {
            **dict.fromkeys(("group", "jobType", "commit", "notes", "systemMetrics", "user")),
            "name": name,
            "displayName": name,
            "state": "finished",
            "config": "{}",
            "createdAt": "2026-11-20T08:00:00Z",
            "heartbeatAt": "2026-11-20T09:00:00Z",
            "tags": [],
            "summaryMetrics": "{}",
            "historyLineCount": len(rows),
            "historyKeys": {"lastStep": last},
            "fileCount": 0,
            **fields,
        }
        self.runs.append((node, [json.dumps(row) for row in rows]))

    def answer(self, asked: Asked) -> Answer:
        wanted = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        if asked.headers.get("authorization") != wanted:
            return Answer({"errors": [{"message": "permission denied"}]}, 401)
        query, variables = asked.body["query"], asked.body["variables"]
        if (variables["entity"], variables["project"]) != ("pde", "burgers"):
            return Answer({"data": {"project": None}})
        operation = re.match(r"query (\w+)", query)
        read = {
            "Runs": self._list,
            "Run": self._one,
            "HistoryPage": self._page,
            "RunEvents": self._events,
            "RunHistoryKeys": self._one,
        }
        if operation is None or operation[1] not in read:
            return Answer({"errors": [{"message": f"unknown operation in {query[:80]}"}]}, 400)
        return Answer({"data": {"project": read[operation[1]](query, variables)}})

    def _list(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        nodes = sorted((node for node, _ in self.runs), key=lambda node: node["createdAt"])
        first = int(variables["cursor"]) if variables.get("cursor") else 0
        # Smaller than what is asked for, as a service may choose.
        until = first + min(variables["perPage"], 2)
        return {
            "runs": {
                "edges": [{"node": _named(query, node), "cursor": "x"} for node in nodes[first:until]],
                "pageInfo": {"endCursor": str(until), "hasNextPage": until < len(nodes)},
            }
        }

    def _one(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        found = [node for node, _ in self.runs if node["name"] == variables["name"]]
        return {"run": _named(query, found[0]) if found else None}

    def _page(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.before_page(variables["minStep"])
        (lines,) = [lines for node, lines in self.runs if node["name"] == variables["run"]]
        steps = range(variables["minStep"], variables["maxStep"])
        rows = [line for line in lines if json.loads(line)["_step"] in steps]
        size = variables["pageSize"]
        thinned = [rows[i * len(rows) // size] for i in range(size)] if len(rows) > size else rows
        return {"run": {"history": thinned}}

    def _events(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        return {"run": {"events": self.events[: variables["samples"]]}}


def _worded(line: str) -> str:
    words = {math.inf: "Infinity", -math.inf: "-Infinity"}
    row = json.loads(line)
    return json.dumps(
        {
            name: words.get(value, "NaN") if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        },
        allow_nan=False,
    )


def _named(query: str, node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if re.search(rf"\b{name}\b", query)}


class Mlflow(Tracker):
    """Answers that a real server of MLflow 3.17 gave, page by page; what it was not asked then is an error."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = json.loads((DATA / "mlflow" / "answers.json").read_text(encoding="utf-8"))

    def answer(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        body = asked.body if asked.method == "POST" else dict(parse_qsl(parts.query))
        wanted = {key: value for key, value in body.items() if key not in ("max_results", "order_by")}
        for kept in self._kept:
            if (kept["method"], kept["path"], kept["asked"]) == (asked.method, parts.path, wanted):
                return Answer(kept["answer"])
        return Answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"not recorded: {wanted}"}, 404)


@contextmanager
def serving(tracker: Tracker) -> Iterator[None]:
    """Let it answer on a port of its own, which is gone afterwards."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            return

        def _reply(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, json.loads(raw) if raw else None)
            answer = tracker.respond(asked)
            content = json.dumps(answer.document).encode()
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _reply  # noqa: N815 - the names of the base class

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tracker.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
