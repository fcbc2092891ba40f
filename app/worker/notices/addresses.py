"""Where the service may send anything: never to its own network, whatever a name resolves to at that moment."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from typing import Any, TypeAlias

import httpcore

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 addresses that carry an IPv4 address to which the packet goes in the end.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The receiver's address is one that nothing is sent to."""


def networks(text: str) -> tuple[Network, ...]:
    """Networks by commas, such as `10.1.0.0/16,::1`.

    Raises:
        ValueError: One is none.
    """
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def is_allowed(address: Address, allowed: Collection[Network] = ()) -> bool:
    """Whether something may be sent there: public addresses, and what the operator allows besides.

    Refused are private, loopback, link-local (cloud metadata), shared, multicast, reserved and unspecified ranges.
    """
    inner = _carried(address)
    if any(
        each in network for network in allowed for each in {address, inner} if each.version == network.version
    ):
        return True
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def resolved(host: str, port: int, allowed: Collection[Network] = ()) -> str:
    """The first address of a host, once all of its addresses were looked at.

    Raises:
        AddressRefused: One of them may not be sent to, or there is none.
        OSError: The name cannot be resolved.
    """
    found = [info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for text in found:
        # A scope, as in fe80::1%eth0, says the link.
        if not is_allowed(ipaddress.ip_address(str(text).partition("%")[0]), allowed):
            raise AddressRefused(
                f"{host} resolves to {text}, which is not a public address; whoever runs the server allows others with "
                "TRUERUN_OUTGOING_NETWORKS"
            )
    if not found:
        raise AddressRefused(f"{host} has no address")
    return str(found[0])


class GuardedBackend(httpcore.SyncBackend):
    """Connects only to addresses that are allowed, to the very one that was looked at."""

    def __init__(self, allowed: Collection[Network]) -> None:
        super().__init__()
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = resolved(host, port, self._allowed)
        return super().connect_tcp(address, port, timeout, local_address, socket_options)

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressRefused(f"{path} is no address")


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
