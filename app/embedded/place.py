"""Where the embedded Postgres lies. Nothing outside its own directory is created with, or changed to, other modes.

DATA_DIR/                 /var/lib/truerun as root, else $XDG_DATA_HOME/truerun; never the clone
    postgres-18.6.3/      our copy of the binaries: one directory per version, complete or absent
    settings/             postgresql.conf, pg_hba.conf, pg_ident.conf: written at every start
    cluster/              belongs to the user that runs Postgres, closed to everybody else
        data/  server.log  run/ (the socket)
    start.lock  use.lock  see server.py
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.embedded.account import Account
from app.embedded.errors import EmbeddedPostgresError

SOCKET_NAME = ".s.PGSQL.5432"
# The kernel's limit for a socket's path, without the final NUL: 107 bytes on Linux, 103 on macOS and the BSDs.
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory of this user when no other was asked for."""
    if os.geteuid() == 0:
        return Path("/var/lib/truerun")
    given = environ.get("XDG_DATA_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    base = Path(given) if os.path.isabs(given) else Path("~/.local/share").expanduser()
    return base / "truerun"


@dataclass(frozen=True, slots=True)
class Place:
    """The paths below one data directory."""

    data_dir: Path

    @property
    def settings(self) -> Path:
        return self.data_dir / "settings"

    @property
    def cluster(self) -> Path:
        return self.data_dir / "cluster"

    @property
    def data(self) -> Path:
        return self.cluster / "data"

    @property
    def log(self) -> Path:
        return self.cluster / "server.log"

    @property
    def start_lock(self) -> Path:
        return self.data_dir / "start.lock"

    @property
    def use_lock(self) -> Path:
        return self.data_dir / "use.lock"


def make_data_dir(place: Place) -> None:
    """Make the data directory and what is missing above it.

    As root the user that runs Postgres must be able to pass through, so what we make is open for passing (0711); a
    directory that exists keeps the mode it has.
    """
    # initdb looks for its neighbour programs through a shell, with nothing but double quotes around the path.
    unfit = sorted(set(str(place.data_dir)) & set('"$`\\\n'))
    if unfit:
        raise EmbeddedPostgresError(
            f"{place.data_dir} has {' '.join(map(repr, unfit))} in its name; {_WAY_OUT}"
        )
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [path for path in (place.data_dir, *place.data_dir.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            # mkdir's own mode is cut by the umask.
            path.chmod(mode)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"{error.filename} cannot be made: {error.strerror}; {_WAY_OUT}"
        ) from error
    if not place.data_dir.is_dir():
        raise EmbeddedPostgresError(f"{place.data_dir} is not a directory; {_WAY_OUT}")
    if place.data_dir.stat().st_uid not in (0, os.geteuid()):
        raise EmbeddedPostgresError(f"{place.data_dir} belongs to another user; {_WAY_OUT}")


def make_cluster_dir(place: Place, account: Account) -> None:
    if not place.settings.exists():
        place.settings.mkdir()
        place.settings.chmod(0o755)
    if not place.cluster.exists():
        place.cluster.mkdir(mode=0o700)
        if account.is_another:
            os.chown(place.cluster, account.uid, account.gid)
    owner = place.cluster.stat().st_uid
    if owner != account.uid:
        raise EmbeddedPostgresError(
            f"{place.cluster} belongs to user id {owner}, but Postgres would run as {account.user}; {_WAY_OUT}"
        )


def check_reachable(place: Place, account: Account) -> None:
    """Raise when the user that runs Postgres cannot get to the data directory; only root can be in this situation."""
    if not account.is_another:
        return
    for path in reversed((place.data_dir, *place.data_dir.parents)):
        status = path.stat()
        if status.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            raise EmbeddedPostgresError(
                f"Postgres runs as {account.user}, who may not pass through {path} "
                f"(mode {stat.S_IMODE(status.st_mode):04o}), and its mode is not ours to change; {_WAY_OUT}"
            )


def socket_dir(place: Place, account: Account) -> Path:
    """The directory of the server's socket, made if needed, open only to the user that runs Postgres.

    It lies beside the data unless that path is too long for a socket; then it gets a short one, which follows from the
    data directory alone, so that every process finds the same one whatever its environment says.
    """
    digest = hashlib.sha256(os.fsencode(place.data_dir)).hexdigest()[:16]
    bases = ("/run", "/tmp") if os.geteuid() == 0 else ("/tmp",)  # noqa: S108
    shorter = [Path(base, f"truerun-{account.uid}-{digest}") for base in bases if os.access(base, os.W_OK)]
    for directory in (place.cluster / "run", *shorter):
        # A comma separates hosts in a Postgres address, and there is no way to escape it.
        if len(os.fsencode(directory / SOCKET_NAME)) <= SOCKET_PATH_LIMIT and "," not in str(directory):
            return _private_dir(directory, account)
    raise EmbeddedPostgresError(f"no directory with a path short enough for a socket was found; {_WAY_OUT}")


def _private_dir(directory: Path, account: Account) -> Path:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if account.is_another:
            os.chown(directory, account.uid, account.gid)
    status = directory.lstat()
    # Where everybody may write, a stranger could have been there first and put a link or an open directory.
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != account.uid
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise EmbeddedPostgresError(
            f"{directory} exists but is not a directory that only {account.user} may enter; remove it"
        )
    return directory


_WAY_OUT = "choose another directory with TRUERUN_DATA_DIR, or set DATABASE_URL to use a Postgres of your own"
