"""One database cluster: create it, start it, find out whether it runs, stop it. The caller holds the start lock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from app.embedded.account import Account
from app.embedded.binaries import Binaries
from app.embedded.configuration import ROLE, SUPERUSER, write_settings
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.place import SOCKET_NAME, Place

# Replaying the log after a crash takes as long as the log is; an ordinary start takes a tenth of a second.
START_SECONDS = 300
STOP_SECONDS = 60
# The log is put aside at a start when it is larger; one earlier log is kept.
LOG_BYTES = 10_000_000
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Everything needed to run one cluster.

    Args:
        socket_dir: Where the server's socket lies.
        settings: Postgres settings beyond those that are always set.
        durable: False only for tests, where nothing has to survive a power cut.
    """

    place: Place
    account: Account
    binaries: Binaries
    socket_dir: Path
    settings: Mapping[str, str]
    durable: bool = True

    def create(self) -> None:
        """Make an empty cluster, unless there is one; an interrupted attempt leaves nothing that looks like one."""
        if self.place.data.exists():
            self._check_major_version()
            return
        # A name without any character that the programs behind initdb could misread; see _run for the directory.
        half = self.place.cluster / "half"
        shutil.rmtree(half, ignore_errors=True)
        options = ["--data-checksums", "--encoding=UTF8", "--username", SUPERUSER, "--auth=reject"]
        # The locale that Postgres brings itself sorts alike on every machine and needs nothing installed.
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            options.append("--no-sync")
        problem = self._run("initdb", "--pgdata=half", *options, seconds=START_SECONDS)
        if problem:
            raise EmbeddedPostgresError(f"initdb failed in {self.place.cluster}:\n{problem}")
        half.rename(self.place.data)

    def start(self) -> None:
        """Start the server unless it runs, and make the service's role and database unless they exist."""
        deadline = time.monotonic() + START_SECONDS
        while not (self._answers() and self._has_role_and_database()):
            if self._postmaster() is not None:
                # It is on its way up or down; what it does next decides.
                _wait_a_moment(deadline, "the running Postgres neither answers nor ends")
                continue
            self._remove_dead_pid_file()
            self._rotate_log()
            write_settings(self.place, self.account, socket_dir=self.socket_dir, extra=self.settings)
            log_start = self._log_size()
            problem = self._run(
                "pg_ctl", "start", "--pgdata=data", "--wait", f"--timeout={START_SECONDS}", "--silent",
                "--log=server.log", "--options=-c config_file=../settings/postgresql.conf",
                # Named relative, since pg_ctl hands it to a shell, and a path may hold whatever a shell reads.
                "-p", os.path.relpath(self.binaries.program("postgres"), self.place.cluster),
                seconds=START_SECONDS + 10,
            )  # fmt: skip
            said = self._log_since(log_start)
            # Children of a killed server take a moment to notice its death; until then the data is theirs.
            if problem and "pre-existing shared memory block" not in said:
                raise EmbeddedPostgresError(f"Postgres did not start: {problem}\n{said[-2000:]}")
            _wait_a_moment(deadline, f"Postgres did not start:\n{said[-2000:]}")

    def is_running(self) -> bool:
        return self._postmaster() is not None

    def stop(self) -> None:
        """Stop the server if it runs: at once for its clients, and with everything written for the next start."""
        if not self.is_running():
            return
        stop = ["stop", "--pgdata=data", "--wait", "--silent"]
        problem = self._run(
            "pg_ctl", *stop, "--mode=fast", f"--timeout={STOP_SECONDS}", seconds=STOP_SECONDS + 10
        )
        if problem and self.is_running():
            # Something hangs. What was committed is in the log and comes back at the next start.
            problem = self._run("pg_ctl", *stop, "--mode=immediate", "--timeout=10", seconds=20)
        if problem and self.is_running():
            raise EmbeddedPostgresError(f"Postgres did not stop: {problem}")

    def _answers(self) -> bool:
        if not (self.socket_dir / SOCKET_NAME).exists():
            return False
        try:
            self._connect(SUPERUSER, "postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, role: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.socket_dir),
            port=5432,
            user=role,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )

    def _has_role_and_database(self) -> bool:
        """Make them unless they exist; False where the server broke off meanwhile."""
        try:
            with self._connect(SUPERUSER, "postgres") as connection:
                roles = "select 1 from pg_roles where rolname = %s"
                if connection.execute(roles, (ROLE,)).fetchone() is None:
                    connection.execute(f"create role {ROLE} login createdb")
                databases = "select 1 from pg_database where datname = %s"
                if connection.execute(databases, (ROLE,)).fetchone() is None:
                    connection.execute(f"create database {ROLE} owner {ROLE}")
        except psycopg.OperationalError:
            return False
        return True

    def _postmaster(self) -> psutil.Process | None:
        """The server's first process if it is alive, judged by what it is and not by its number alone."""
        pid = self._pid_on_file()
        if pid is None:
            return None
        try:
            process = psutil.Process(pid)
            # A server works inside its data directory; a stranger that was given its number does not.
            is_ours = process.status() != psutil.STATUS_ZOMBIE and process.cwd() == os.path.realpath(
                self.place.data
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if is_ours else None

    def _pid_on_file(self) -> int | None:
        try:
            return int((self.place.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _remove_dead_pid_file(self) -> None:
        """Remove the file that a crash left, when it is empty or its number belongs to some other process by now.

        Postgres removes it itself when no process has that number, but would take any process of ours for a server.
        That no server is alive was established before; two at once are still impossible, since Postgres also looks
        for the shared memory of another server on the same data.
        """
        pid = self._pid_on_file()
        if pid is None or psutil.pid_exists(pid):
            (self.place.data / "postmaster.pid").unlink(missing_ok=True)

    def _check_major_version(self) -> None:
        found = (self.place.data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if found != str(self.binaries.major):
            raise EmbeddedPostgresError(
                f"{self.place.data} was made by Postgres {found}, and this release carries {self.binaries.major}; "
                "dump it with the release that made it (truerun-server backup) and restore it into a new directory"
            )

    def _rotate_log(self) -> None:
        if self._log_size() > LOG_BYTES:
            self.place.log.rename(self.place.log.with_suffix(".log.1"))

    def _log_size(self) -> int:
        return self.place.log.stat().st_size if self.place.log.exists() else 0

    def _log_since(self, position: int) -> str:
        try:
            with self.place.log.open("rb") as log:
                log.seek(position)
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _run(self, program: str, *arguments: str, seconds: float) -> str:
        """Run one of the programs inside the cluster's directory, as the user that runs Postgres.

        Paths in the arguments are relative to that directory, because the programs pass them through a shell.
        Returns what went wrong, or nothing.
        """
        command = [str(self.binaries.program(program)), *arguments]
        another = self.account.is_another
        try:
            result = subprocess.run(
                command,
                cwd=self.place.cluster,
                # PGDATA, PGOPTIONS and their like are meant for somebody else's server.
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
                # Ctrl-C goes to every process of the terminal's group; the service decides when Postgres stops.
                start_new_session=True,
                umask=0o077,
                user=self.account.uid if another else None,
                group=self.account.gid if another else None,
                extra_groups=[] if another else None,
            )
        except subprocess.TimeoutExpired:
            return f"{program} did not end within {seconds:.0f} s"
        except OSError as error:
            raise EmbeddedPostgresError(
                f"{command[0]} cannot be run as {self.account.user}: {error.strerror}; is it on a file system that is "
                "mounted noexec? choose another directory with TRUERUN_DATA_DIR, or set DATABASE_URL"
            ) from error
        output = result.stdout.decode("utf-8", "replace").strip()
        if result.returncode == 0:
            return ""
        ended = (
            signal.Signals(-result.returncode).name if result.returncode < 0 else f"exit {result.returncode}"
        )
        return output or f"{program}: {ended}"


def _wait_a_moment(deadline: float, complaint: str) -> None:
    """Wait before looking again; past the deadline raise with the complaint."""
    if time.monotonic() > deadline:
        raise EmbeddedPostgresError(complaint)
    time.sleep(POLL_SECONDS)
