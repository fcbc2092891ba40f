"""How often one token, and one address with tokens that open nothing, may ask: token buckets in memory.

They belong to the process and not to the database: a limit that costs a write with every request would be the load it
is to keep off. With several API processes each gives out its own share, so the limits multiply by their number; after
a restart every bucket is full again.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a bucket says.

    Args:
        left: How many more requests may come at once.
        wait_seconds: Until the next one may; 0 when it may now.
    """

    left: int
    wait_seconds: float


class Buckets:
    """One bucket for each key, refilled with time; the ones not used for longest are forgotten when there are many.

    A forgotten bucket is a full one, so whoever wants to profit has to fill the table with other keys first; with made
    up tokens the limit on those stops him long before.

    Args:
        most: How many are remembered: some 200 bytes each.
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        most: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second = per_second
        self.burst = burst
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[bytes | str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def look(self, key: bytes | str) -> Allowance:
        """What is left, without taking any."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return Allowance(left=self.burst, wait_seconds=0.0)
        left = min(self.burst, bucket.left + (self._clock() - bucket.at) * self.per_second)
        return Allowance(left=int(left), wait_seconds=max(0.0, (1.0 - left) / self.per_second))

    def take(self, key: bytes | str) -> Allowance:
        """Take one, if there is one."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self.burst), now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.left = min(self.burst, bucket.left + (now - bucket.at) * self.per_second)
            bucket.at = now
        if bucket.left < 1.0:
            return Allowance(left=0, wait_seconds=(1.0 - bucket.left) / self.per_second)
        bucket.left -= 1.0
        return Allowance(left=int(bucket.left), wait_seconds=0.0)


class Rates:
    """The two limits; each is None when it is switched off."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        rejected_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = Buckets(per_second=per_second, burst=burst, clock=clock) if per_second > 0 else None
        self.rejected = (
            Buckets(per_second=rejected_per_minute / 60, burst=rejected_per_minute, clock=clock)
            if rejected_per_minute > 0
            else None
        )
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def is_good(self, digest: bytes) -> bool:
        """Whether the token opened something lately: the failures of others behind one address do not touch it."""
        return digest in self._good

    def note_good(self, digest: bytes) -> None:
        self._good[digest] = None
        self._good.move_to_end(digest)
        if len(self._good) > _MOST_GOOD:
            self._good.popitem(last=False)

    def note_rejected(self, digest: bytes, address: str) -> None:
        self._good.pop(digest, None)
        if self.rejected is not None:
            self.rejected.take(address)


_MOST_GOOD = 20_000


def digest_of(secret: bytes) -> bytes:
    """What stands for the credential in memory: never the secret itself."""
    return hashlib.sha256(secret).digest()


def address_of(client: tuple[str, int] | None) -> str:
    """Who counts as one caller: an IPv4 address, or the network that one IPv6 customer has for himself."""
    if client is None:
        return "unknown"
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0][:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return str(address)
