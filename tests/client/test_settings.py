"""Where the client sends, as whom, and whether at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from truerun.places import is_loopback, local_file, spool_root
from truerun.ranks import rank, world_size
from truerun.settings import Settings, find_settings


def a_home(path: Path, document: Any = None, *, mode: int = 0o600) -> dict[str, str]:
    """The environment of a user whose local file holds `document`; none is written for None."""
    environ = {"XDG_CONFIG_HOME": str(path)}
    if document is not None:
        file = local_file(environ)
        file.parent.mkdir(parents=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        file.chmod(mode)
    return environ


def found(
    environ: dict[str, str], url: str | None = None, token: str | None = None, mode: str | None = None
) -> Settings:
    return find_settings(url=url, token=token, mode=mode, environ=environ)


LOCAL = {"url": "http://127.0.0.1:8765", "tokens": {"admin": "trn_local"}}


def test_an_argument_wins_over_the_environment(tmp_path: Path) -> None:
    environ = {**a_home(tmp_path, LOCAL), "TRUERUN_URL": "https://env", "TRUERUN_TOKEN": "trn_env"}

    settings = found(environ, url="https://arg/", token="trn_arg")

    assert (settings.url, settings.token, settings.mode) == ("https://arg", "trn_arg", "online")


def test_the_environment_wins_over_the_local_file(tmp_path: Path) -> None:
    environ = {**a_home(tmp_path, LOCAL), "TRUERUN_URL": "https://env/api/v1/", "TRUERUN_TOKEN": " trn_env\n"}

    settings = found(environ)

    assert (settings.url, settings.token, settings.url_from) == ("https://env", "trn_env", "TRUERUN_URL")


def test_without_an_address_the_server_of_this_machine_is_used(tmp_path: Path) -> None:
    settings = found(a_home(tmp_path, LOCAL))

    assert (settings.url, settings.token, settings.mode) == ("http://127.0.0.1:8765", "trn_local", "online")
    assert settings.complaints == ()


def test_the_local_token_opens_the_local_server_only(tmp_path: Path) -> None:
    environ = a_home(tmp_path, LOCAL)

    assert found(environ, url="http://127.0.0.1:8765/").token == "trn_local"
    assert found(environ, url="http://127.0.0.1:9999").token is None
    assert found(environ, url="https://elsewhere").token is None


@pytest.mark.parametrize(
    ("document", "mode", "reason"),
    [
        pytest.param(LOCAL, 0o644, "chmod 600", id="others may read"),
        pytest.param(LOCAL, 0o620, "chmod 600", id="the group may write"),
        pytest.param({**LOCAL, "url": "http://10.0.0.7"}, 0o600, "not on this machine", id="another machine"),
        pytest.param(
            {**LOCAL, "url": "http://127.0.0.1.evil.org"},
            0o600,
            "not on this machine",
            id="looks like loopback",
        ),
        pytest.param("{", 0o600, "no JSON", id="damaged"),
        pytest.param([1], 0o600, "not on this machine", id="no object"),
    ],
)
def test_a_local_file_that_cannot_be_trusted_is_ignored_with_a_reason(
    tmp_path: Path, document: Any, mode: int, reason: str
) -> None:
    settings = found(a_home(tmp_path, document, mode=mode))

    assert (settings.url, settings.token, settings.mode) == (None, None, "offline")
    assert reason in settings.complaints[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_local_file_of_another_user_is_ignored(tmp_path: Path) -> None:
    environ = a_home(tmp_path, LOCAL)
    os.chown(local_file(environ), 12345, 12345)

    settings = found(environ)

    assert settings.url is None
    assert "another user" in settings.complaints[0]


def test_a_link_in_place_of_the_local_file_is_not_followed(tmp_path: Path) -> None:
    environ = a_home(tmp_path / "home", LOCAL)
    file = local_file(environ)
    file.rename(tmp_path / "real.json")
    file.symlink_to(tmp_path / "real.json")

    assert found(environ).url is None


@pytest.mark.parametrize(
    ("argument", "variable", "url", "mode"),
    [
        pytest.param(None, None, "http://x", "online", id="an address is online"),
        pytest.param(None, None, None, "offline", id="no address is offline"),
        pytest.param(None, "offline", "http://x", "offline", id="the variable"),
        pytest.param(None, "OFF", "http://x", "off", id="in capitals"),
        pytest.param("online", "off", "http://x", "online", id="the argument wins"),
        pytest.param("online", None, None, "offline", id="online without an address"),
        pytest.param(None, "onlin", "http://x", "online", id="a slip of the pen"),
    ],
)
def test_the_mode_follows_argument_variable_and_address(
    tmp_path: Path, argument: str | None, variable: str | None, url: str | None, mode: str
) -> None:
    environ = {**a_home(tmp_path), **({"TRUERUN_MODE": variable} if variable else {})}

    settings = found(environ, url=url, mode=argument)

    assert settings.mode == mode
    assert bool(settings.complaints) == (variable == "onlin")


@pytest.mark.parametrize(
    "url", ["ftp://x", "truerun.example.org", "http://", "http://x:99999", "http://u:p@x", "http://["]
)
def test_an_address_that_is_none_is_said_and_not_used(tmp_path: Path, url: str) -> None:
    settings = found({**a_home(tmp_path), "TRUERUN_URL": url})

    assert settings.url is None
    assert "TRUERUN_URL" in settings.complaints[0]
    assert "u:p" not in settings.complaints[0]


def test_a_token_that_could_split_a_header_is_not_used(tmp_path: Path) -> None:
    settings = found({**a_home(tmp_path), "TRUERUN_URL": "http://x", "TRUERUN_TOKEN": "a\r\nX-Evil: 1"})

    assert settings.token is None
    assert "TRUERUN_TOKEN" in settings.complaints[0]


def test_a_token_is_never_shown_in_a_repr(tmp_path: Path) -> None:
    assert "trn_local" not in repr(found(a_home(tmp_path, LOCAL)))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80", True),
        ("http://localhost.evil.org", False),
        ("http://0.0.0.0", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_the_spool_lies_in_the_state_directory_and_a_relative_one_is_ignored(tmp_path: Path) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path)}

    assert spool_root(home) == tmp_path / "truerun" / "spool"
    assert spool_root({"XDG_STATE_HOME": "here"}) == Path.home() / ".local/state/truerun/spool"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, 0, id="one process"),
        pytest.param({"RANK": "3", "SLURM_PROCID": "0"}, 3, id="RANK first"),
        pytest.param({"SLURM_PROCID": "2", "LOCAL_RANK": "0"}, 2, id="then SLURM_PROCID"),
        pytest.param({"LOCAL_RANK": "1"}, 1, id="then LOCAL_RANK"),
        pytest.param({"RANK": "none", "LOCAL_RANK": "1"}, 1, id="no number is no rank"),
    ],
)
def test_the_rank_is_the_first_variable_that_says_one(environ: dict[str, str], expected: int) -> None:
    assert rank(environ) == expected


def test_the_world_size_is_known_when_said() -> None:
    assert world_size({"WORLD_SIZE": "8"}) == 8
    assert world_size({}) is None
