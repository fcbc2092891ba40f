"""Services and disks that a training may meet, each until its block ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService, Fault, problem, running

ROOT = Path(__file__).parents[2]
ODD_RETRY_AFTER = (
    "soon",
    "",
    "-1",
    "nan",
    "1e400",
    "-inf",
    "99999999999999",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "\N{SUPERSCRIPT TWO}",
)


@dataclass
class Place:
    """Where a training sends to.

    Args:
        preamble: Python that the training executes before it imports truerun.
        service: Where it can be asked what arrived.
    """

    url: str
    preamble: str = ""
    service: FakeService | None = None
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def up() -> Iterator[Place]:
    with running(FakeService()) as service:
        yield Place(service.url, service=service)


@contextmanager
def down() -> Iterator[Place]:
    with socket.socket() as reserved:
        # Bound and never listening: nobody else can get the port meanwhile.
        reserved.bind(("127.0.0.1", 0))
        yield Place(f"http://127.0.0.1:{reserved.getsockname()[1]}")


@contextmanager
def silent() -> Iterator[Place]:
    """Connections are made, and nothing ever comes back."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield Place(f"http://127.0.0.1:{server.getsockname()[1]}")


@contextmanager
def black_hole() -> Iterator[Place]:
    """Not even connections are made: the queue of those that wait is full, so the system ignores further ones."""
    with contextlib.ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield Place(f"http://127.0.0.1:{server.getsockname()[1]}")


_STOPS_ITSELF = """
import os, signal, sys
from tests.client.fake_service import FakeService, running

class Service(FakeService):
    def answer(self, request):
        if request.path.endswith("/records"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().answer(request)

with running(Service()) as service:
    print(service.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def stopped() -> Iterator[Place]:
    """Well until the first records arrive; then its process stands still and its connections stay open."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPS_ITSELF],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Place(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def dripping(
    *, at_once: bytes, then: bytes, seconds: float = 0.1
) -> Callable[[], AbstractContextManager[Place]]:
    """Answers with something at once and the rest for ever, byte by byte."""

    @contextmanager
    def place() -> Iterator[Place]:
        is_over = threading.Event()
        with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
            found = Place(f"http://127.0.0.1:{server.getsockname()[1]}")

            def drip(connection: socket.socket) -> None:
                with connection, contextlib.suppress(OSError):
                    found.requests.append(connection.recv(65536))
                    connection.sendall(at_once)
                    for byte in itertools.cycle(then):
                        if is_over.wait(seconds):
                            return
                        connection.sendall(bytes([byte]))

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            yield found
            is_over.set()
            server.shutdown(socket.SHUT_RDWR)

    return place


def answering(fault: Fault, *kinds: str) -> Callable[[], AbstractContextManager[Place]]:
    """Answers requests of some kinds with one fault, the others as they should be."""

    @contextmanager
    def place() -> Iterator[Place]:
        with running(FakeService()) as service:
            service.always = dict.fromkeys(kinds, fault)
            yield Place(service.url, service=service)

    return place


@contextmanager
def overloaded() -> Iterator[Place]:
    """Says 429 to everything, each time with another Retry-After that makes no sense."""
    headers = itertools.cycle(ODD_RETRY_AFTER)

    class Overloaded(FakeService):
        def fault(self, kind: str) -> Fault:
            return Fault(status=429, headers={"retry-after": next(headers).encode().decode("latin-1")})

    with running(Overloaded()) as service:
        yield Place(service.url, service=service)


@contextmanager
def nameless() -> Iterator[Place]:
    """A resolver that never answers."""
    preamble = """
    import socket, threading
    socket.getaddrinfo = lambda *args, **more: threading.Event().wait()
    """
    yield Place("http://truerun.example.org", preamble=preamble)


_DOCUMENT = json.dumps({"run_id": "x", "filler": "x" * 4096}).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_EVERYTHING = ("run", "records", "evaluation", "status")

BAD: dict[str, Callable[[], AbstractContextManager[Place]]] = {
    "down": down,
    "silent": silent,
    "black hole": black_hole,
    "stopped": stopped,
    "dripping a head": dripping(at_once=_HEAD, then=b"x-more: and more\r\n"),
    "dripping a body": dripping(at_once=_HEAD + b"content-length: 9999999\r\n\r\n", then=_DOCUMENT),
    "401": answering(problem(401, "the token is unknown"), *_EVERYTHING),
    "401 to records": answering(problem(401, "the token is unknown"), "records"),
    "403": answering(problem(403, "the token may not"), *_EVERYTHING),
    "413": answering(Fault(status=413, body="<html>too large</html>"), "records", "evaluation"),
    "429": overloaded,
    "500": answering(Fault(status=500, body="oops"), *_EVERYTHING),
    "500 to records": answering(Fault(status=500, body="oops"), "records"),
    "HTML": answering(Fault(status=200, body="<html>sign in</html>"), *_EVERYTHING),
    "names hang": nameless,
}


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[bool]:
    """A small file system in memory at the directory; False where this user may mount none."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        yield False
        return
    command = ["mount", "-t", "tmpfs", "-o", options, "truerun-test", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def read_only(directory: Path) -> Iterator[str]:
    """Nothing can be written below the directory; yields what the training has to execute for that."""
    with mounted(directory, "ro,mode=700") as is_mounted:
        if not is_mounted:
            if os.geteuid() == 0:
                pytest.skip("root may write anywhere, and no file system can be mounted here")
            directory.chmod(0o500)
        try:
            yield ""
        finally:
            if not is_mounted:
                directory.chmod(0o700)


@contextmanager
def full(directory: Path) -> Iterator[str]:
    """The directory takes a few files and then no more; yields what the training has to execute for that."""
    with mounted(directory, "size=128k,mode=700") as is_mounted:
        limit = "import resource\n    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))"
        yield "" if is_mounted else limit
