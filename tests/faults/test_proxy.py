"""The proxy does what it says, and nothing else."""

from __future__ import annotations

import random
import socketserver
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.proxy import FaultProxy, Mischief, a_proxy


class Counting(socketserver.StreamRequestHandler):
    """Answers each request with its own body, and counts."""

    def handle(self) -> None:
        while self.rfile.readline():
            length = 0
            while (line := self.rfile.readline().strip().lower()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name == b"content-length" else length
            body = self.rfile.read(length)
            if len(body) < length:
                return
            with self.server.lock:  # type: ignore[attr-defined]
                self.server.answered += 1  # type: ignore[attr-defined]
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + body)


class Service(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Counting)
        self.answered = 0
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A connection that was reset is what this is about."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def ask(proxy: FaultProxy, body: bytes = b"x" * 500) -> bytes:
    url = f"http://127.0.0.1:{proxy.port}/"
    return httpx.post(url, content=body, timeout=20, trust_env=False).raise_for_status().content


@pytest.mark.parametrize("mischief", [Mischief.NONE, Mischief.LATE, Mischief.DRIP])
def test_what_is_delayed_or_drips_arrives_whole(service: Service, mischief: Mischief) -> None:
    body = random.Random(1).randbytes(100_000)
    with a_proxy([service.port], random.Random(1), weights={mischief: 1}, late_seconds=0.02) as proxy:
        assert ask(proxy, body) == body

    assert proxy.done == {mischief: 1}
    assert service.answered == 1


def test_a_late_exchange_is_late_and_a_drip_takes_its_time(service: Service) -> None:
    spent = {}
    for mischief in (Mischief.LATE, Mischief.DRIP):
        with a_proxy([service.port], random.Random(3), weights={mischief: 1}, late_seconds=0.5) as proxy:
            began = time.monotonic()
            ask(proxy)
            spent[mischief] = time.monotonic() - began

    # As the seed has it: one delay each way; and a good thirty drops, 10 ms apart.
    same = random.Random(3)
    same.choice([0]), same.choices([0], [1])
    assert spent[Mischief.LATE] >= same.uniform(0, 0.5) + same.uniform(0, 0.5)
    assert spent[Mischief.DRIP] >= 0.2


def test_a_lost_reply_was_forwarded_and_done(service: Service) -> None:
    with a_proxy([service.port], random.Random(1), weights={Mischief.LOST_REPLY: 1}) as proxy:
        with pytest.raises(httpx.TransportError):
            ask(proxy)

        assert service.answered == 1
        proxy.calm()
        assert ask(proxy) == b"x" * 500


def test_a_reset_breaks_off_before_the_request_is_whole(service: Service) -> None:
    with a_proxy([service.port], random.Random(1), weights={Mischief.RESET: 1}) as proxy:
        with pytest.raises(httpx.TransportError):
            ask(proxy)

        proxy.calm()
        ask(proxy)
    assert service.answered == 1


def test_a_connection_is_drawn_anew_and_each_exchange_of_it(service: Service) -> None:
    even = {Mischief.NONE: 1, Mischief.LATE: 1}
    with (
        a_proxy([service.port], random.Random(2), weights=even, late_seconds=0.02) as proxy,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        for _ in range(20):
            client.get(f"http://127.0.0.1:{proxy.port}/").raise_for_status()

    assert proxy.done[Mischief.NONE] >= 3
    assert proxy.done[Mischief.LATE] >= 3
    assert proxy.done.total() == 20
