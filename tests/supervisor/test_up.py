"""`truerun-server up`, run as people run it: as a program, ended by signals."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.embedded.processes import postmaster
from tests.supervisor.running import PATIENCE_SECONDS, Up, a_free_port


@pytest.fixture
def up(data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(**environ: str) -> Up:
        started.append(Up(data_dir, tmp_path / "config", **environ))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def get(url: str, path: str, *, token: str | None = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.05)


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in processes)


def test_it_serves_tells_the_client_where_and_ends_well_on_ctrl_c(up: Callable[..., Up]) -> None:
    service = up().ready()
    everything = service.everything()

    assert service.url in service.output
    assert get(service.url, "/readyz") == 200
    assert get(service.url, "/api/v1/me", token=service.token) == 200
    assert stat.S_IMODE(service.local_file.stat().st_mode) == 0o600
    assert service.token not in service.output
    assert len(everything) == 3

    # Again and again, as impatient people do: that must not break off the stopping.
    while service.process.poll() is None:
        service.press_ctrl_c()
        time.sleep(0.01)

    assert service.ended() == 0, service.output
    assert "Traceback" not in service.output
    assert all_gone(everything)


def test_the_token_of_the_last_start_goes_on_working(up: Callable[..., Up]) -> None:
    first = up().ready()
    everything, token = first.everything(), first.token
    first.process.send_signal(signal.SIGTERM)
    assert first.ended() == 0, first.output
    assert all_gone(everything)

    second = up().ready()

    assert second.token == token
    assert get(second.url, "/api/v1/me", token=token) == 200


def test_a_taken_port_means_the_next_one_and_a_token_that_fails_a_new_one(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    left = tmp_path / "config" / "truerun" / "local.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"url": "http://127.0.0.1:1", "tokens": {"admin": "tr_of_another_database"}}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        service = up(TRUERUN_PORT=str(port)).ready()

        assert urlsplit(service.url).port != port
        assert service.token != "tr_of_another_database"
        assert get(service.url, "/api/v1/me", token=service.token) == 200


@pytest.fixture
def a_terminal() -> Iterator[None]:
    """Children hear SIGHUP, even where the tests were started by nohup, which would have it ignored by all of them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("a_terminal")
def test_it_uses_the_postgres_it_is_given_and_stops_when_the_terminal_closes(
    up: Callable[..., Up], empty_database_url: str
) -> None:
    service = up(DATABASE_URL=empty_database_url, TRUERUN_DURABILITY="waived").ready()
    everything = service.everything()

    assert get(service.url, "/readyz") == 200
    assert postmaster(service.data_dir) is None

    service.process.send_signal(signal.SIGHUP)
    assert service.ended() == 0, service.output
    assert all_gone(everything)


def test_ctrl_c_while_starting_leaves_nothing_behind(up: Callable[..., Up]) -> None:
    service = up()
    wait_until(lambda: postmaster(service.data_dir) is not None)

    service.press_ctrl_c()

    assert service.ended() == 0, service.output
    assert "Traceback" not in service.output
    assert postmaster(service.data_dir) is None


@pytest.mark.parametrize(("command", "name"), [("worker", "worker"), ("serve", "API")])
def test_a_part_that_dies_is_named_and_the_rest_is_stopped(
    up: Callable[..., Up], command: str, name: str
) -> None:
    service = up().ready()
    everything = service.everything()

    service.child(command).kill()

    assert service.ended() == 1
    assert f"the {name} ended unexpectedly (SIGKILL)" in service.output
    assert all_gone(everything)


def test_a_postgres_that_dies_is_started_again_and_what_it_held_is_there(up: Callable[..., Up]) -> None:
    service = up().ready()
    first = postmaster(service.data_dir)
    assert first is not None

    first.kill()

    wait_until(lambda: postmaster(service.data_dir) not in (None, first))
    wait_until(lambda: get(service.url, "/readyz") == 200)
    assert get(service.url, "/api/v1/me", token=service.token) == 200
    service.press_ctrl_c()
    assert service.ended() == 0


def test_when_it_is_killed_its_parts_end_and_the_last_one_stops_postgres(up: Callable[..., Up]) -> None:
    service = up().ready()
    everything = service.everything()

    service.process.kill()

    wait_until(lambda: all_gone(everything))


def test_a_postgres_that_may_forget_is_refused_at_once_and_its_own_is_durable(
    up: Callable[..., Up], empty_database_url: str
) -> None:
    careless = up(DATABASE_URL=empty_database_url)
    status = careless.ended()
    service = up().ready()

    assert status == 1
    assert "fsync is off" in careless.output
    assert "Traceback" not in careless.output
    assert ready_document(service.url)["warnings"] == []


def ready_document(url: str) -> dict[str, list[str]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        document: dict[str, list[str]] = json.loads(connection.getresponse().read())
        return document
    finally:
        connection.close()


def test_a_database_out_of_reach_is_told_in_a_sentence_without_the_password(up: Callable[..., Up]) -> None:
    service = up(DATABASE_URL=f"postgresql://ana:very-secret@127.0.0.1:{a_free_port()}/truerun")

    assert service.ended() == 1
    assert "the database cannot be reached" in service.output
    assert "Traceback" not in service.output
    assert "very-secret" not in service.output


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"DATABASE_URL": "mysql://ana:very-secret@db/truerun"},
            "DATABASE_URL: must be the address of a Postgres",
        ),
        ({"TRUERUN_PORT": "99999"}, "TRUERUN_PORT: Input should be less than or equal to 65535"),
        ({"TRUERUN_DATA_DIR": "/proc/truerun"}, "/proc/truerun cannot be made"),
        ({"TRUERUN_HOST": "192.0.2.1"}, "192.0.2.1"),
    ],
    ids=["database", "port", "directory", "host"],
)
def test_a_setting_that_cannot_be_used_is_named(
    up: Callable[..., Up], environ: dict[str, str], said: str
) -> None:
    service = up(**environ)

    assert service.ended() in (1, 2)
    assert said in service.output
    assert "Traceback" not in service.output
    assert "very-secret" not in service.output
