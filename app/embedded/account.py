"""The operating system user that Postgres runs as: ourselves or, since Postgres refuses root, a user made for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass

from app.embedded.errors import EmbeddedPostgresError

# Not `truerun`, which a person or the service's own account may be called.
SYSTEM_USER = "truerun-db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs Postgres and who may connect to it.

    Args:
        user: Name of the user that owns the data and runs the server.
        uid: Its user id.
        gid: Its group id.
        client: Name of the user that we are ourselves, the only one that the server lets in.
    """

    user: str
    uid: int
    gid: int
    client: str

    @property
    def is_another(self) -> bool:
        """Whether Postgres runs as somebody else than ourselves."""
        return self.uid != os.geteuid()


def postgres_account() -> Account:
    """The account for this process; as root a system user that is created at its first use.

    Raises:
        EmbeddedPostgresError: We have no name on this machine, or are root and cannot make a user.
    """
    try:
        own = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"user id {os.geteuid()} has no name on this machine, so Postgres cannot tell us from others; "
            "add it to /etc/passwd or set DATABASE_URL"
        ) from None
    runner = own if own.pw_uid != 0 else _system_user()
    return Account(user=runner.pw_name, uid=runner.pw_uid, gid=runner.pw_gid, client=own.pw_name)


def _system_user() -> pwd.struct_passwd:
    found = _find_system_user()
    if found is None:
        problem = _add_system_user()
        # Another process may have been quicker, so what counts is whether the user is there now.
        found = _find_system_user()
        if found is None:
            raise EmbeddedPostgresError(
                f"Postgres does not run as root and the system user {SYSTEM_USER} could not be added ({problem}); "
                "run this as an ordinary user or set DATABASE_URL"
            )
    if found.pw_uid == 0:
        raise EmbeddedPostgresError(
            f"the user {SYSTEM_USER} has the rights of root, and Postgres does not run as root"
        )
    return found


def _find_system_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def _add_system_user() -> str:
    """Try to add the user; returns what went wrong, if anything."""
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        return "there is no useradd"
    nologin = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin") or "/bin/false"
    command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    result = subprocess.run(
        [*command, "--shell", nologin, SYSTEM_USER], capture_output=True, text=True, check=False
    )
    return result.stderr.strip()
