"""The second half of try_image.py: the built image's commands, run as an engine would run them.

It runs in a network namespace of its own, where nothing but loopback exists, and talks to a Postgres there that asks
for a password as the one of docker-compose.yml does.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from app.embedded import embedded_postgres
from tests.containers.dockerfile import Dockerfile, read_dockerfile, substituted
from tests.containers.posting import POST

ROOT = Path(__file__).parents[2]
# Everything that an address would have to escape; libpq takes it as it is from PGPASSWORD.
PASSWORD = "p@ss/wo%rd:#?&' \"$x"
PATIENCE_SECONDS = 60
AS_THE_IMAGE = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/tmp" && '
    'exec chroot "$0" setpriv --reuid "$1" --regid "$2" --clear-groups --no-new-privs --inh-caps=-all '
    '--bounding-set=-all env -i "${@:3}"'
)


class Image:
    """The image's root, and what the Dockerfile says about running it."""

    def __init__(self, root: Path, dockerfile: Dockerfile) -> None:
        self.root = root
        final = dockerfile.final
        self.environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for instruction in final.all("ENV"):
            for name, value in instruction.pairs.items():
                self.environ[name] = substituted(value, self.environ)
        self.uid, _, self.gid = final.last("USER").text.partition(":")
        self.entrypoint = final.last("ENTRYPOINT").words
        self.command = final.last("CMD").words
        self.healthcheck = final.last("HEALTHCHECK").words

    def start(self, *command: str, **environ: str) -> subprocess.Popen[str]:
        values = [f"{name}={value}" for name, value in {**self.environ, **environ}.items()]
        return subprocess.Popen(
            [
                "unshare",
                "--mount",
                "bash",
                "-c",
                AS_THE_IMAGE,
                str(self.root),
                self.uid,
                self.gid,
                *values,
                *command,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )

    def run(self, *command: str, **environ: str) -> str:
        process = self.start(*command, **environ)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        if process.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit status {process.returncode}\n{said}")
        return said.strip()


@contextmanager
def a_postgres(place: Path) -> Iterator[str]:
    """A Postgres on loopback that lets nobody in without the password; its address, without the password."""
    rules = place / "pg_hba.conf"
    rules.write_text("local all all peer map=truerun\nhost all all 127.0.0.1/32 scram-sha-256\n")
    rules.chmod(0o644)
    settings = {"listen_addresses": "127.0.0.1", "hba_file": str(rules)}
    with embedded_postgres(place / "postgres", settings=settings, durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("alter role truerun password {}").format(PASSWORD))
        yield "postgresql://truerun@127.0.0.1:5432/truerun"


def status_of(path: str, port: int = 8750) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def tell(what: str, began: float, said: str = "") -> None:
    print(f"  {time.monotonic() - began:6.2f} s  {what}" + (f": {said}" if said else ""), flush=True)


def stopped(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    if process.returncode != 0:
        raise AssertionError(f"exit status {process.returncode} after SIGTERM\n{said}")


def run_image(image: Image, place: Path) -> None:
    began = time.monotonic()
    process = image.start(*image.entrypoint, *image.command, TRUERUN_DATA_DIR="/tmp/data")
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode != 1 or "DATABASE_URL" not in said or "Traceback" in said:
        raise AssertionError(f"without DATABASE_URL: exit status {process.returncode}\n{said}")
    tell("serve without DATABASE_URL", began, said.strip())
    with a_postgres(place) as url:
        given = {"DATABASE_URL": url, "PGPASSWORD": PASSWORD}

        began = time.monotonic()
        tell("migrate", began, image.run(*image.entrypoint, "migrate", **given))

        began = time.monotonic()
        said = image.run(*image.entrypoint, "token", "create", "--role", "admin", "--label", "first", **given)
        secret = said.splitlines()[0]
        tell("token create", began, said.splitlines()[-1])

        began = time.monotonic()
        api = image.start(*image.entrypoint, *image.command, **given)
        worker = image.start(*image.entrypoint, "worker", **given)
        try:
            check(image, api, began)
            post(secret)
        finally:
            for name, process in (("serve", api), ("worker", worker)):
                began = time.monotonic()
                stopped(process)
                tell(f"{name} ended on SIGTERM with exit status 0", began)


def check(image: Image, api: subprocess.Popen[str], began: float) -> None:
    while status_of("/readyz") != 200:
        if api.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
            raise AssertionError(f"the API did not get ready\n{api.communicate()[0] if api.poll() else ''}")
        time.sleep(0.02)
    tell("serve answers /readyz", began)
    began = time.monotonic()
    image.run(*image.healthcheck)
    tell("HEALTHCHECK", began, "exit status 0")
    process = image.start(*image.healthcheck, TRUERUN_PORT="1")
    said, _ = process.communicate()
    if process.returncode == 0:
        raise AssertionError("the HEALTHCHECK is content where nobody answers")
    tell("HEALTHCHECK where nobody answers", began, said.strip())
    try:
        image.run("python3", "-c", "open('/opt/truerun/written', 'w')")
    except AssertionError as error:
        tell("writing into the root", began, str(error).splitlines()[-1])
    else:
        raise AssertionError("the root can be written to")


def post(secret: str) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "TRUERUN_URL": "http://127.0.0.1:8750", "TRUERUN_TOKEN": secret}
        said = subprocess.run(
            [sys.executable, "-c", POST],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environ,
        )
    if said.returncode != 0:
        raise AssertionError(said.stdout + said.stderr)
    tell("an evaluation posted by the client", began, said.stdout.strip())


def main() -> int:
    root, place = map(Path, sys.argv[1:])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    run_image(Image(root, read_dockerfile((ROOT / "Dockerfile").read_text())), place)
    print("the image serves")
    return 0


if __name__ == "__main__":
    sys.exit(main())
