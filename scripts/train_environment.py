"""Make .venv-train: torch, numpy and the client, for the training of `make demo TRAIN=1` and for nothing else.

Usage:
    python3 scripts/train_environment.py    make or refresh .venv-train

It is apart from .venv because a service has no use for a gigabyte of torch. pip installs it and not uv, since pip also
looks where it is configured to (`find-links`, further indexes), which is where many machines keep their build of torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import bootstrap

SIZE = "about 200 MB to download, 0.9 GB on disk"

ENVIRONMENT = os.path.join(bootstrap.ROOT, ".venv-train")
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")
STAMP = os.path.join(ENVIRONMENT, "truerun-environment")
# A network that swallows everything should be found out before somebody gives up.
PATIENCE = ["--timeout", "30"]


def main() -> int:
    if sys.version_info < bootstrap.OLDEST_PYTHON:
        return bootstrap.restart_with_newer_python()
    os.makedirs(bootstrap.TOOLS, exist_ok=True)
    try:
        with locked("lock-train"):
            make_environment()
    except (bootstrap.Unavailable, subprocess.CalledProcessError, OSError) as error:
        return bootstrap.complain(
            f"{bootstrap.torch_requirement()} cannot be installed here: {reason_of(error)}\n"
            "bootstrap: nothing else needs it; `make demo` without TRAIN=1 works as before"
        )
    except KeyboardInterrupt:
        return bootstrap.complain("interrupted; the next `make demo TRAIN=1` begins again")
    return 0


def make_environment() -> None:
    """Bring .venv-train up to date; nothing happens when it already is."""
    if read_stamp() == inputs_digest():
        return
    say(
        f"making .venv-train with {bootstrap.torch_requirement()} for CPU: {SIZE}; once, for a minute or two …"
    )
    began = time.monotonic()
    with contextlib.suppress(FileNotFoundError):
        os.remove(STAMP)
    make_venv()
    install()
    with open(STAMP, "w") as stamp:
        stamp.write(inputs_digest())
    say(f".venv-train is made ({time.monotonic() - began:.0f} s)")


def make_venv() -> None:
    """An environment with pip; uv fetches one where this Python has none, as Debian's."""
    try:
        with locked("lock"):
            uv = bootstrap.pinned_uv()
    except bootstrap.Unavailable:
        bootstrap.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], os.environ)
        return
    command = [
        uv,
        "venv",
        "--quiet",
        "--seed",
        "--clear",
        "--no-python-downloads",
        "--python",
        sys.executable,
    ]
    bootstrap.run([*command, ENVIRONMENT], bootstrap.index_environment())


def install() -> None:
    also = [*pinned("numpy"), *pinned("httpx"), "--editable", "client"]
    bootstrap.install_torch(pip_install(), also, pip_environment())


def pip_install() -> list[str]:
    return [PYTHON, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", *PATIENCE]


def pinned(name: str) -> list[str]:
    """The requirements of a package as the service's lock has them, one for each range of Python."""
    with open(os.path.join(bootstrap.ROOT, bootstrap.LOCKS["runtime"])) as lock:
        return re.findall(rf"^({re.escape(name)}==.*?)\s*\\$", lock.read(), re.MULTILINE)


def pip_environment() -> dict[str, str]:
    """pip's own configuration, completed by what uv's says of index and certificates."""
    environ = dict(os.environ)
    if bootstrap.index_url() != "https://pypi.org/simple" and not bootstrap.pip_setting("index-url"):
        environ.setdefault("PIP_INDEX_URL", bootstrap.index_url())
    if bootstrap.certificates() and not bootstrap.pip_setting("cert"):
        environ.setdefault("PIP_CERT", bootstrap.certificates())
    environ.pop("VIRTUAL_ENV", None)
    return environ


def read_stamp() -> str:
    """What the environment was made from; empty when it is missing, half made or broken."""
    if not os.path.exists(PYTHON):
        return ""
    try:
        with open(STAMP) as stamp:
            return stamp.read()
    except FileNotFoundError:
        return ""


def inputs_digest() -> str:
    """Digest of what the environment depends on, its own place and interpreter included."""
    interpreter = (bootstrap.ROOT, os.path.realpath(sys.executable), sys.version)
    parts = (bootstrap.torch_requirement(), *pinned("numpy"), *pinned("httpx"), *interpreter)
    digest = hashlib.sha256("\0".join(parts).encode())
    with open(os.path.join(bootstrap.ROOT, "client", "pyproject.toml"), "rb") as file:
        digest.update(file.read())
    return digest.hexdigest()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Two makes started at once must not build the same thing into each other."""
    with open(os.path.join(bootstrap.TOOLS, name), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    print(f"bootstrap: {line}", file=sys.stderr)


def reason_of(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        command = " ".join([os.path.basename(error.cmd[0]), *error.cmd[1:4]])
        return f"`{command} …` failed (see above)"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
