"""The embedded Postgres as its users see it: enter, connect, leave.

Processes that use the same data directory share one server. Each holds a shared lock on `use.lock` for as long as it
uses the server; whoever leaves and then gets that lock alone was the last one, and stops the server. The kernel drops
the lock of a process that was killed, so nothing has to be counted or cleaned up. Starting and stopping happen under
`start.lock`, one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from app.embedded.account import postgres_account
from app.embedded.binaries import copied_binaries, remove_other_binaries
from app.embedded.cluster import Cluster
from app.embedded.configuration import ROLE
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.place import Place, check_reachable, make_cluster_dir, make_data_dir, socket_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """A running server, as `embedded_postgres` hands it out."""

    data_dir: Path
    socket_dir: Path
    cluster: Cluster = field(repr=False)

    def is_running(self) -> bool:
        """Whether the server is still there; it goes only when somebody stops or kills it from outside."""
        return self.cluster.is_running()

    def start_again(self) -> None:
        """Start the server after it has ended by itself.

        Raises:
            EmbeddedPostgresError, OSError: It cannot be started, now at least.
        """
        with _locked(self.cluster.place.start_lock):
            self.cluster.start()

    def url(self, database: str = ROLE) -> str:
        """Address of a database, as libpq and SQLAlchemy read it."""
        return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={quote(str(self.socket_dir), safe='')}"


@contextlib.contextmanager
def embedded_postgres(
    data_dir: Path, *, settings: Mapping[str, str] | None = None, durable: bool = True
) -> Iterator[EmbeddedPostgres]:
    """Run Postgres for the length of a `with` block, or join the one that another process runs on this directory.

    Args:
        data_dir: Where everything lies; made if it does not exist.
        settings: Postgres settings beyond our own; they count when this process is the one that starts the server.
        durable: False only for tests: creating the cluster then does not wait for the disk.

    Raises:
        EmbeddedPostgresError: It cannot be started or stopped here.
    """
    place = Place(Path(os.path.abspath(data_dir)))
    make_data_dir(place)
    with _open_lock(place.use_lock) as in_use:
        with _locked(place.start_lock):
            fcntl.flock(in_use, fcntl.LOCK_SH)
            cluster = _prepared_cluster(place, settings=settings or {}, durable=durable)
            try:
                if not cluster.is_running():
                    remove_other_binaries(place, cluster.binaries)
                cluster.start()
            except BaseException:
                # A start that was interrupted half way is taken back.
                _stop_if_last(cluster, in_use)
                raise
        try:
            yield EmbeddedPostgres(data_dir=place.data_dir, socket_dir=cluster.socket_dir, cluster=cluster)
        finally:
            with _locked(place.start_lock):
                _stop_if_last(cluster, in_use)


def _prepared_cluster(place: Place, *, settings: Mapping[str, str], durable: bool) -> Cluster:
    account = postgres_account()
    check_reachable(place, account)
    make_cluster_dir(place, account)
    cluster = Cluster(
        place=place,
        account=account,
        binaries=copied_binaries(place),
        socket_dir=socket_dir(place, account),
        settings=settings,
        durable=durable,
    )
    cluster.create()
    return cluster


def _stop_if_last(cluster: Cluster, in_use: int) -> None:
    """Stop the server unless another process uses it. The caller holds the start lock."""
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    cluster.stop()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _open_lock(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EmbeddedPostgresError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
