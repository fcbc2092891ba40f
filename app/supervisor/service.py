"""Start everything, tell the client on this machine, keep serving, stop everything in the opposite order."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit
from uuid import uuid4

from app.db import make_engine, make_probe, migrate, session_factory
from app.db.readiness import readiness
from app.domain.access import Role
from app.embedded import EmbeddedPostgres, default_data_dir, embedded_postgres
from app.services.tokens import authenticate, ensure_local_admin
from app.settings import Settings
from app.supervisor.children import Child, ServiceFailed, check_all_alive, start_child
from app.supervisor.listening import bound_socket, local_url
from app.supervisor.local_file import local_file, read_admin_token, write_local_file
from app.supervisor.revival import Revival

READY_SECONDS = 60
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """What `running_service` hands out.

    Args:
        url: The service's address, as this machine reaches it.
        admin_token: A token that may do everything.
        local_file: Where the client on this machine finds both.
        children: Its processes.
        postgres: The database, if it is our own.
    """

    url: str
    admin_token: str = field(repr=False)
    database_url: str = field(repr=False)
    local_file: Path
    children: tuple[Child, ...]
    postgres: EmbeddedPostgres | None

    def keep_serving(self) -> None:
        """Wait until somebody stops this program, by Ctrl-C or SIGTERM, which raise KeyboardInterrupt.

        Our own Postgres is started again when it ends by itself: what was acknowledged is in its log.

        Raises:
            ServiceFailed: The API or the worker has ended by itself, or our Postgres does so again and again.
        """
        postgres = self.postgres
        revival = None if postgres is None else Revival(postgres, log=postgres.cluster.place.log)
        while True:
            check_all_alive(self.children)
            if revival is not None:
                revival.look()
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def running_service(settings: Settings) -> Iterator[RunningService]:
    """The whole service for the length of a `with` block.

    Ctrl-C, SIGTERM and the terminal's end raise KeyboardInterrupt inside the block, also while starting. At its end the
    API stops first, then the worker, then Postgres, if it is ours and nobody else uses it. From then on further signals
    are ignored, since each step ends by itself and the program is expected to end as well.

    Raises:
        ServiceFailed: A part did not start.
    """
    with contextlib.ExitStack() as parts:
        _let_stop_signals_interrupt()
        postgres, url = None, settings.database_url
        if url is None:
            postgres = parts.enter_context(embedded_postgres(settings.data_dir or default_data_dir()))
            url = postgres.url()
        migrate.upgrade(url)
        _check_durability(url, waived=settings.durability == "waived")
        token = _admin_token(url, database_is_ours=postgres is not None)

        try:
            listener = parts.enter_context(bound_socket(settings.host, settings.port))
        except OSError as error:
            raise ServiceFailed(
                f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
                "choose others with TRUERUN_HOST and TRUERUN_PORT"
            ) from error
        lifeline, held_end = os.pipe()
        parts.callback(os.close, held_end)
        environ = _environ(settings, port=listener.getsockname()[1])
        worker = start_child(
            "worker", ["worker", f"--lifeline={lifeline}"], environ=environ, descriptors=[lifeline]
        )
        parts.callback(worker.stop)
        api = start_child(
            "API",
            ["serve", f"--lifeline={lifeline}", f"--socket={listener.fileno()}"],
            environ=environ,
            descriptors=[lifeline, listener.fileno()],
        )
        parts.callback(api.stop)
        parts.callback(_ignore_stop_signals)
        os.close(lifeline)
        address = local_url(listener)
        # Only the API holds the port from here on: when it dies, connections are refused instead of left waiting.
        listener.close()

        children = (api, worker)
        _wait_until_ready(address, children)
        write_local_file(local_file(), url=address, admin_token=token)
        yield RunningService(
            url=address,
            admin_token=token,
            database_url=url,
            local_file=local_file(),
            children=children,
            postgres=postgres,
        )


def _environ(settings: Settings, *, port: int) -> dict[str, str]:
    """What the children read their settings from, so that they have ours and not only our environment's.

    Without DATABASE_URL they join our Postgres as users of their own: should this program be killed, the last of them
    to end stops it.
    """
    given = settings.model_dump(mode="json", exclude_none=True, exclude={"database_url"}) | {"port": port}
    environ = {f"TRUERUN_{name.upper()}": str(value) for name, value in given.items()}
    return environ | {"DATABASE_URL": settings.database_url or ""}


def _check_durability(database_url: str, *, waived: bool) -> None:
    """Say at once what /readyz would say for ever."""
    probe = make_probe(database_url, seconds=10)
    with session_factory(probe).begin() as session:
        found = readiness(session, durability_waived=waived)
    if found.problems:
        raise ServiceFailed(f"this Postgres cannot be used: {'; '.join(found.problems)}")


def _admin_token(database_url: str, *, database_is_ours: bool) -> str:
    """The token of the last start, so that what was set up with it goes on working, or else a new one."""
    engine = make_engine(database_url)
    try:
        with session_factory(engine).begin() as session:
            now = datetime.now(UTC)
            former = read_admin_token(local_file())
            actor = authenticate(session, former, now=now) if former is not None else None
            if former is not None and actor is not None and actor.role is Role.ADMIN:
                return former
            # In a shared database the local token of another machine is not ours to revoke.
            return ensure_local_admin(session, now=now, new_id=uuid4, reissue=database_is_ours)
    finally:
        engine.dispose()


def _wait_until_ready(url: str, children: tuple[Child, ...]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        check_all_alive(children)
        if time.monotonic() > deadline:
            raise ServiceFailed(f"the API was not ready within {READY_SECONDS} s (GET {url}/readyz)")
        time.sleep(POLL_SECONDS)


def _is_ready(url: str) -> bool:
    # No urllib: it would send this through the proxy that the environment names.
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _let_stop_signals_interrupt() -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # One request to stop is enough; a second one must not break off the stopping.
        _ignore_stop_signals()
        raise KeyboardInterrupt

    for each in _STOP_SIGNALS:
        # nohup ignores the terminal's end, and so shall we under it.
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, interrupt)


def _ignore_stop_signals() -> None:
    for each in _STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
