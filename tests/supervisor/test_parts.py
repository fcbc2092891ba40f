from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from app.supervisor.listening import bound_socket, local_url
from app.supervisor.local_file import local_file, read_admin_token, write_local_file


def test_a_port_is_held_from_the_moment_it_is_found() -> None:
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]

        with bound_socket("127.0.0.1", port) as second:
            assert second.getsockname()[1] > port


def test_an_address_that_is_not_ours_is_no_taken_port() -> None:
    with pytest.raises(OSError, match="assign"), bound_socket("192.0.2.1", 0):
        pass


@pytest.mark.parametrize(
    ("family", "bound", "url"),
    [
        (socket.AF_INET, "127.0.0.1", "http://127.0.0.1:{port}"),
        (socket.AF_INET, "0.0.0.0", "http://127.0.0.1:{port}"),
        (socket.AF_INET6, "::1", "http://[::1]:{port}"),
        (socket.AF_INET6, "::", "http://[::1]:{port}"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(
    family: socket.AddressFamily, bound: str, url: str
) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((bound, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")

        assert local_url(listener) == url.format(port=listener.getsockname()[1])


def test_the_local_file_is_for_its_owner_only_and_replaces_the_one_before(tmp_path: Path) -> None:
    path = local_file({"XDG_CONFIG_HOME": str(tmp_path)})
    before = os.umask(0)
    try:
        write_local_file(path, url="http://127.0.0.1:1", admin_token="old")
        write_local_file(path, url="http://127.0.0.1:8750", admin_token="secret")
    finally:
        os.umask(before)

    assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:8750", "tokens": {"admin": "secret"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert read_admin_token(path) == "secret"


def test_a_relative_configuration_home_is_ignored() -> None:
    assert local_file({"XDG_CONFIG_HOME": "here"}) == Path.home() / ".config" / "truerun" / "local.json"


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"tokens": []}', '{"tokens": {"admin": 7}}', "\x00"]
)
def test_a_local_file_that_says_nothing_useful_is_as_good_as_none(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "local.json"
    if content is not None:
        path.write_text(content)

    assert read_admin_token(path) is None
