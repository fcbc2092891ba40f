"""A network that does what networks do: it delays, loses replies, resets in the middle, and lets bytes drip."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

_CHUNK_BYTES = 65_536
_CONNECT_SECONDS = 5.0
_DRIP_BYTES = 16
# Of one reply; then the rest comes in one piece, or a large answer would take minutes.
_DRIPS = 40


class Mischief(StrEnum):
    """What happens to one exchange: a request, then its reply."""

    NONE = "none"
    LATE = "late"
    LOST_REPLY = "lost_reply"
    RESET = "reset"
    DRIP = "drip"


WEIGHTS = {
    Mischief.NONE: 10,
    Mischief.LATE: 4,
    Mischief.LOST_REPLY: 3,
    Mischief.RESET: 3,
    Mischief.DRIP: 3,
}


class FaultProxy:
    """Forwards connections to one of several ports of this machine; what is done to them is drawn.

    Args:
        ports: Where a connection may go; drawn anew for each, so that it may also meet a service that is gone.
        weights: How often each mischief is drawn, relative to the others; may be changed while it runs.
        late_seconds: The longest delay, drawn anew each way.
    """

    def __init__(
        self,
        ports: Sequence[int],
        draw: random.Random,
        *,
        weights: dict[Mischief, int] | None = None,
        late_seconds: float = 0.3,
    ) -> None:
        self.done: Counter[Mischief] = Counter()
        self.weights = dict(WEIGHTS if weights is None else weights)
        self.port = 0
        self._ports, self._draw, self._late_seconds = ports, draw, late_seconds

    def calm(self) -> None:
        """From now on exchanges are left alone."""
        self.weights = {Mischief.NONE: 1}

    async def serve(self, started: Callable[[], None], stopped: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started()
        await stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            opening = asyncio.open_connection("127.0.0.1", self._draw.choice(self._ports))
            async with _closing(writer):
                there, back = await asyncio.wait_for(opening, _CONNECT_SECONDS)
                async with _closing(back):
                    await _Exchanges(self, self._draw, reader, writer, there, back).run(self._late_seconds)

    def next_mischief(self) -> Mischief:
        (drawn,) = self._draw.choices([*self.weights], [*self.weights.values()])
        return drawn


class _Exchanges:
    """One connection; a request after a reply begins another exchange, so no HTTP need be understood."""

    def __init__(
        self,
        proxy: FaultProxy,
        draw: random.Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        self._proxy, self._draw = proxy, draw
        self._client, self._to_client = reader, writer
        self._service, self._to_service = there, back
        self._now = Mischief.NONE
        self._is_replying = True

    async def run(self, late_seconds: float) -> None:
        self._late_seconds = late_seconds
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            # Whichever way ends first, the connection is over.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        while content := await self._client.read(_CHUNK_BYTES):
            if self._is_replying:
                self._is_replying = False
                self._now = self._proxy.next_mischief()
                self._proxy.done[self._now] += 1
            if self._now is Mischief.RESET:
                await _send(self._to_service, content[: self._draw.randrange(len(content))])
                _reset(self._to_service)
                _reset(self._to_client)
                return
            await self._delay()
            await _send(self._to_service, content)

    async def _replies(self) -> None:
        while content := await self._service.read(_CHUNK_BYTES):
            self._is_replying = True
            if self._now is Mischief.LOST_REPLY:
                # The service has done its part; nobody will ever know.
                _reset(self._to_client)
                return
            await self._delay()
            if self._now is Mischief.DRIP:
                content = await self._drip(content)
            await _send(self._to_client, content)

    async def _delay(self) -> None:
        if self._now is Mischief.LATE:
            await asyncio.sleep(self._draw.uniform(0.0, self._late_seconds))

    async def _drip(self, content: bytes) -> bytes:
        """Send the beginning in drops; the rest."""
        for _ in range(_DRIPS):
            size = self._draw.randint(1, _DRIP_BYTES)
            await _send(self._to_client, content[:size])
            content = content[size:]
            if not content:
                break
            await asyncio.sleep(0.01)
        return content


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    if content:
        writer.write(content)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break off with RST instead of an orderly end."""
    end = writer.get_extra_info("socket")
    if end is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()


@contextmanager
def a_proxy(
    ports: Sequence[int],
    draw: random.Random,
    *,
    weights: dict[Mischief, int] | None = None,
    late_seconds: float = 0.3,
) -> Iterator[FaultProxy]:
    """A proxy at work in a thread of its own."""
    proxy = FaultProxy(ports, draw, weights=weights, late_seconds=late_seconds)
    started = threading.Event()
    ends: list[Callable[[], object]] = []

    async def work() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(stopped.set))
        await proxy.serve(started.set, stopped)

    thread = threading.Thread(target=_run, args=(work,), name="fault-proxy")
    thread.start()
    if not started.wait(20):
        raise TimeoutError("the proxy did not start")
    try:
        yield proxy
    finally:
        for end in ends:
            end()
        thread.join(20)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work()

    asyncio.run(whole())
