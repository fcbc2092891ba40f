"""What is built from the sources, installed where nothing of the clone is: the service has to start from it alone."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from app.supervisor.listening import bound_socket, local_url
from tests.containers.posting import POST
from tests.supervisor.running import PATIENCE_SECONDS
from tests.supervisor.test_up import get, wait_until

ROOT = Path(__file__).parents[2]


def build(source: Path, kind: str, target: Path) -> Path:
    """Build without the network, by the backend that the lock pins."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return max(target.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files_below(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_servers_wheel_holds_all_of_the_service_and_its_migrations(tmp_path: Path) -> None:
    wheel = build(ROOT, "wheel", tmp_path)

    migrations = {f"app/{name}" for name in files_below("migrations")}
    assert any(name.startswith("app/migrations/versions/") for name in migrations)
    assert files_in(wheel) == files_below("app") | migrations


def test_the_servers_sources_build_the_same_wheel(tmp_path: Path) -> None:
    sources = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sources) as archive:
        archive.extractall(tmp_path, filter="data")

    again = build(tmp_path / sources.name.removesuffix(".tar.gz"), "wheel", tmp_path / "again")

    assert files_in(again) == files_in(build(ROOT, "wheel", tmp_path / "wheel"))


def test_the_clients_wheel_holds_all_of_the_client_and_nothing_of_the_server(tmp_path: Path) -> None:
    wheel = build(ROOT / "client", "wheel", tmp_path)

    assert files_in(wheel) == {name.removeprefix("client/") for name in files_below("client/truerun")}


@pytest.fixture
def installed(bootstrap: ModuleType, tmp_path: Path) -> Path:
    """The programs of an environment with the locked packages and the two wheels, and nothing else."""
    try:
        uv = bootstrap.pinned_uv()
    except bootstrap.Unavailable as error:
        pytest.skip(str(error))
    environ = bootstrap.index_environment()
    environment = tmp_path / "environment"
    python = ["--quiet", "--python", str(environment)]
    wheels = [str(build(each, "wheel", tmp_path / "wheels")) for each in (ROOT, ROOT / "client")]

    def run(*arguments: str) -> None:
        subprocess.run([uv, *arguments], cwd=tmp_path, env=environ, check=True)

    run("venv", "--quiet", "--no-python-downloads", "--python", sys.executable, str(environment))
    # From uv's cache, which has every one of them since our own environment was made.
    run("pip", "sync", *python, "--require-hashes", str(ROOT / "requirements" / "server.txt"))
    run("pip", "install", *python, "--no-deps", "--offline", *wheels)
    return environment / "bin"


@contextmanager
def a_process(
    *command: str, environ: Mapping[str, str], cwd: Path, listener: socket.socket | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[] if listener is None else [listener.fileno()],
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> str:
    """Ask it to end, as an engine does; what it said."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    return said


def test_an_installation_migrates_serves_judges_and_ends_on_request(
    installed: Path, empty_database_url: str, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(nowhere),
        "DATABASE_URL": empty_database_url,
        "TRUERUN_LOG_FORMAT": "json",
        # The Postgres of the tests does not wait for the disk.
        "TRUERUN_DURABILITY": "waived",
    }
    server = str(installed / "truerun-server")

    def say(*command: str, **more: str) -> str:
        done = subprocess.run(
            command, env=environ | more, cwd=nowhere, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    where = say(str(installed / "python"), "-c", "import app, truerun; print(app.__file__, truerun.__file__)")
    assert all(path.startswith(str(tmp_path)) for path in where.split())
    assert "schema of this release" in say(server, "migrate")
    token = say(server, "token", "create", "--role", "admin", "--label", "first")

    with bound_socket("127.0.0.1", 0) as listener:
        url = local_url(listener)
        serve = (server, "serve", f"--socket={listener.fileno()}")
        with (
            a_process(*serve, environ=environ, cwd=nowhere, listener=listener) as api,
            a_process(server, "worker", environ=environ, cwd=nowhere) as worker,
        ):
            listener.close()
            wait_until(ready(url, api))
            verdict = say(str(installed / "python"), "-c", POST, TRUERUN_URL=url, TRUERUN_TOKEN=token)
            say(str(installed / "python"), "-m", "app.healthcheck", TRUERUN_PORT=str(urlsplit(url).port))
            assert worker.poll() is None
            said = end(api) + end(worker)

    assert verdict.startswith("Undecided: no champion yet")
    assert [line for line in said.splitlines() if not isinstance(json.loads(line), dict)] == []
    # Nothing was written beside what the client keeps for itself.
    assert {path.name for path in nowhere.iterdir()} <= {".local", ".config"}


def ready(url: str, api: subprocess.Popen[str]) -> Callable[[], bool]:
    def answers() -> bool:
        assert api.poll() is None, api.communicate()[0]
        try:
            return get(url, "/readyz") == 200
        except OSError:
            time.sleep(0.05)
            return False

    return answers
