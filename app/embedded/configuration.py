"""The server's settings, written at every start: no port, one user, everything else as Postgres has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from app.embedded.account import Account
from app.embedded.place import Place

SUPERUSER = "postgres"
# What the service connects as: it may create databases, and is no superuser.
ROLE = "truerun"
IDENT_MAP = "truerun"


def write_settings(place: Place, account: Account, *, socket_dir: Path, extra: Mapping[str, str]) -> None:
    settings = {
        # Nothing but the socket: no port that another user or machine could try.
        "listen_addresses": "",
        "unix_socket_directories": _list_element(str(socket_dir)),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "hba_file": str(place.settings / "pg_hba.conf"),
        "ident_file": str(place.settings / "pg_ident.conf"),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        # A line every five minutes would be most of the log.
        "log_checkpoints": "off",
        "cluster_name": "truerun",
        **extra,
    }
    lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
    _replace(
        place.settings / "postgresql.conf",
        "# Written at every start; for changes use ALTER SYSTEM.\n" + "".join(lines),
    )
    # Peer: the kernel says which user is connecting, so there is no password to keep, and nobody else has a name here.
    _replace(place.settings / "pg_hba.conf", f"local all all peer map={IDENT_MAP}\n")
    users = [f'{IDENT_MAP} "{account.client}" {role}\n' for role in (ROLE, SUPERUSER)]
    _replace(place.settings / "pg_ident.conf", "".join(users))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _list_element(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _replace(path: Path, text: str) -> None:
    """Write the file in one step, readable for the user that runs Postgres; it holds no secret."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    half.chmod(0o644)
    os.replace(half, path)
