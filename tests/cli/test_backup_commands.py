"""`truerun-server backup` and `restore`, run as people run them: as programs, with pipes, full disks and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.db.backups.full import fill, row_digests
from tests.services.world import a_world

PATIENCE_SECONDS = 60
PROGRAM = [sys.executable, "-P", "-m", "app.cli"]


def environ(database_url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")}
    return {**inherited, "DATABASE_URL": database_url}


def run(
    database_url: str, *arguments: str | Path, stdin: bytes = b"", before: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command.

    Args:
        before: Shell commands, such as limits.
    """
    command = ["sh", "-c", f'{before}\nexec "$@"', "sh", *PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command,
        env=environ(database_url),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


@pytest.fixture
def full_url(database_url: str) -> str:
    with a_world(database_url) as world:
        fill(world)
    return database_url


def no_rows(database_url: str) -> bool:
    digests = row_digests(database_url)
    return not any(rows for name, (rows, _) in digests.items() if name != "alembic_version")


def test_a_backup_is_checked_and_restored(full_url: str, empty_database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "truerun.backup"

    written = run(full_url, "backup", path)
    checked = run("postgresql://nowhere/at-all", "restore", "--check", path)
    restored = run(empty_database_url, "restore", path)

    assert (written.returncode, checked.returncode, restored.returncode) == (0, 0, 0), restored.stderr
    assert f"are in {path}".encode() in written.stderr
    assert b"is whole" in checked.stderr
    assert row_digests(empty_database_url) == row_digests(full_url)
    again = run(empty_database_url, "restore", path)
    assert again.returncode == 1
    assert b"not empty" in again.stderr
    assert b"Traceback" not in again.stderr


def test_a_backup_goes_through_a_pipe(full_url: str, empty_database_url: str) -> None:
    written = run(full_url, "backup", "-")

    restored = run(empty_database_url, "restore", "-", stdin=written.stdout)

    assert restored.returncode == 0, restored.stderr
    assert row_digests(empty_database_url) == row_digests(full_url)


def test_a_full_disk_leaves_no_file(full_url: str, tmp_path: Path) -> None:
    # A file may not grow beyond 4 blocks; the limit stands for a disk that is full.
    written = run(full_url, "backup", tmp_path / "truerun.backup", before="ulimit -f 4")

    assert written.returncode == 1
    assert b"cannot be written: File too large" in written.stderr
    assert b"Traceback" not in written.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_pipe_is_said(full_url: str) -> None:
    written = run(full_url, "backup", "-", before="exec >/dev/full")

    assert written.returncode == 1
    assert b"cannot be written: No space left on device" in written.stderr
    assert b"Traceback" not in written.stderr


def test_an_existing_file_is_never_overwritten(full_url: str, tmp_path: Path) -> None:
    path = tmp_path / "thesis.tex"
    path.write_text("years of work")

    written = run(full_url, "backup", path)

    assert written.returncode == 1
    assert b"exists" in written.stderr
    assert path.read_text() == "years of work"


def test_a_backup_that_is_stopped_leaves_no_file(full_url: str, tmp_path: Path) -> None:
    with psycopg.connect(full_url) as in_the_way:
        in_the_way.execute("LOCK TABLE check_result IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [*PROGRAM, "backup", str(tmp_path / "truerun.backup")],
            env=environ(full_url),
            stderr=subprocess.PIPE,
        )
        with psycopg.connect(full_url, autocommit=True) as looking:
            waits = (
                "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'check_result'::regclass"
            )
            wait_until(lambda: looking.execute(waits).fetchone() == (True,))
        assert len(list(tmp_path.iterdir())) == 1

        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert b"interrupted" in said
    assert list(tmp_path.iterdir()) == []


def test_a_restore_that_is_killed_leaves_a_database_to_restore_into(
    full_url: str, empty_database_url: str
) -> None:
    backup = run(full_url, "backup", "-").stdout
    process = subprocess.Popen(
        [*PROGRAM, "restore", "-"],
        env=environ(empty_database_url),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    # All but the last bytes: it reads tables and waits for the rest with its transaction open.
    process.stdin.write(backup[:-16])
    process.stdin.flush()
    while not process.stderr.readline().startswith(b"run: "):
        assert process.poll() is None

    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)

    def is_gone() -> bool:
        with psycopg.connect(empty_database_url) as looking:
            others = looking.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return others.fetchone() == (0,)

    wait_until(is_gone)
    assert no_rows(empty_database_url)
    restored = run(empty_database_url, "restore", "-", stdin=backup)
    assert restored.returncode == 0, restored.stderr
    assert row_digests(empty_database_url) == row_digests(full_url)


def test_a_missing_file_and_a_missing_database_are_said(tmp_path: Path) -> None:
    missing = run("", "restore", tmp_path / "nothing")
    unreachable = run("postgresql://127.0.0.1:1/nothing", "backup", tmp_path / "truerun.backup")
    nowhere = run("", "restore", "--check", tmp_path)

    for each in (missing, unreachable, nowhere):
        assert each.returncode == 1
        assert each.stderr.startswith(b"truerun-server: ")
        assert b"Traceback" not in each.stderr
    assert list(tmp_path.iterdir()) == []
