from __future__ import annotations

import ipaddress
import socket
from typing import Any

import httpcore
import pytest

from app.worker.notices.addresses import AddressRefused, GuardedBackend, is_allowed, networks, resolved


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        # Cloud metadata.
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_nothing_is_sent_into_a_network_of_ours(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_sent_to(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address))


def test_the_operator_can_allow_a_network_and_no_more() -> None:
    allowed = networks("10.1.0.0/16, ::1")

    assert is_allowed(ipaddress.ip_address("10.1.2.3"), allowed)
    assert is_allowed(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert is_allowed(ipaddress.ip_address("::1"), allowed)
    assert not is_allowed(ipaddress.ip_address("10.2.0.1"), allowed)
    assert not is_allowed(ipaddress.ip_address("127.0.0.1"), allowed)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)

    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        resolved("rebinding.example", 443)


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([[(2, 1, 6, "", ("8.8.8.8", 443))], [(2, 1, 6, "", ("127.0.0.1", 443))]])
    connected: list[Any] = []

    def connect(self: Any, host: str, *_: Any) -> Any:
        connected.append(host)
        raise OSError("far enough")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: next(answers))
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)

    with pytest.raises(OSError, match="far enough"):
        GuardedBackend(()).connect_tcp("rebinding.example", 443)

    assert connected == ["8.8.8.8"]
