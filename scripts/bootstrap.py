"""Make the clone's own environment on a machine that has nothing but Python, git and make.

Usage:
    python3 scripts/bootstrap.py runtime|dev    make or refresh .venv (`dev` adds what tests and checks need)
    python3 scripts/bootstrap.py torch          make or refresh .venv-torch: the same as `dev`, and torch for processors
    python3 scripts/bootstrap.py uv             print the path of the pinned uv, after fetching it if needed

Only the standard library is used, and neither pip nor the venv module is needed: Debian's python3 has neither. The
package index is the one that uv or pip are configured for on this machine (UV_DEFAULT_INDEX, UV_INDEX_URL,
PIP_INDEX_URL, pip.conf), else PyPI. Every download is checked against a hash that is kept in this repository, but for
torch, which has several builds.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import fcntl
import hashlib
import html.parser
import io
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile

OLDEST_PYTHON = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = os.path.join(ROOT, ".tools")
ENVIRONMENTS = {"runtime": ".venv", "dev": ".venv", "torch": ".venv-torch"}
LOCKS = {
    "runtime": "requirements/server.txt",
    "dev": "requirements/dev.txt",
    "torch": "requirements/dev.txt",
}
TORCH = "requirements/torch.txt"
# PyPI's own wheels for Linux bring CUDA: ten times the size, for tests and a small training on processors.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
PACKAGES = (".", "client")

SYSTEM_PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf")

UV_VERSION = "0.13.8"
# By operating system and machine: the wheel's file name and its sha256.
UV_WHEELS = {
    ("Linux", "x86_64"): (
        "uv-0.13.8-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("Linux", "aarch64"): (
        "uv-0.13.8-py3-none-manylinux_2_28_aarch64.whl",
        "5337c30bb893b4f9ce0ceb921ba2da0d13f649da644f40ad3bef84083bef0203",
    ),
    ("Darwin", "x86_64"): (
        "uv-0.13.8-py3-none-macosx_10_12_x86_64.whl",
        "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    ),
    ("Darwin", "arm64"): (
        "uv-0.13.8-py3-none-macosx_11_0_arm64.whl",
        "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    ),
}


class Unavailable(Exception):
    """The pinned uv cannot be had here; the message says why."""


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in (*LOCKS, "uv"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.version_info < OLDEST_PYTHON:
        return restart_with_newer_python()
    os.makedirs(TOOLS, exist_ok=True)
    # Two makes started at once must not build the same environment into each other.
    with open(os.path.join(TOOLS, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if wanted == "uv":
                print(pinned_uv())
            else:
                make_environment(wanted)
        except Unavailable as error:
            return complain(str(error))
        except subprocess.CalledProcessError as error:
            return complain(
                "the environment could not be made: `%s` failed (see above)" % " ".join(error.cmd)
            )
    return 0


def complain(message: str) -> int:
    print("bootstrap: " + message, file=sys.stderr)
    return 1


def restart_with_newer_python() -> int:
    """Hand over to the newest python3.N on the path, or say what is missing."""
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        newer = shutil.which("python3.%d" % minor)
        if newer:
            os.execv(newer, [newer] + sys.argv)
    return complain(
        "Python %d.%d or newer is needed, this is %s; install one, or name it: make PYTHON=/path/to/python3 …"
        % (OLDEST_PYTHON[0], OLDEST_PYTHON[1], platform.python_version())
    )


# -- the environment ---------------------------------------------------------------------------------------------------


def make_environment(wanted: str) -> None:
    """Bring an environment up to date with its lock; nothing happens when it already is.

    An environment that once got the development tools keeps them: they are a superset of the runtime's packages, and
    `make up` between two `make test` would otherwise remove them and bring them back.
    """
    present, digest = read_stamp(wanted)
    if present == "dev":
        wanted = "dev"
    if present in (wanted, "dev") and digest == inputs_digest(wanted):
        return
    print("bootstrap: making %s (%s) …" % (ENVIRONMENTS[wanted], wanted), file=sys.stderr)
    with contextlib.suppress(FileNotFoundError):
        os.remove(stamp_of(wanted))
    try:
        uv = pinned_uv()
    except Unavailable as error:
        install_with_pip(wanted, str(error))
    else:
        install_with_uv(uv, wanted)
    if wanted == "torch":
        install_torch(pip_install(wanted), [], os.environ)
    with open(stamp_of(wanted), "w") as stamp:
        stamp.write("%s %s\n" % (wanted, inputs_digest(wanted)))


def stamp_of(wanted: str) -> str:
    return os.path.join(ROOT, ENVIRONMENTS[wanted], "truerun-environment")


def read_stamp(wanted: str) -> tuple[str, str]:
    """What the environment was made as and from; two empty strings when it is missing, half made or broken."""
    # A link to an interpreter that has since been removed does not exist in this sense.
    if not os.path.exists(environment_python(wanted)):
        return "", ""
    try:
        with open(stamp_of(wanted)) as stamp:
            present, digest = stamp.read().split()
    except (FileNotFoundError, ValueError):
        return "", ""
    return (present, digest) if present in LOCKS else ("", "")


def inputs_digest(wanted: str) -> str:
    """Digest of everything that the environment depends on, its own place and interpreter included."""
    digest = hashlib.sha256()
    extra = (TORCH,) if wanted == "torch" else ()
    for name in (LOCKS[wanted], *extra, "pyproject.toml", "client/pyproject.toml", "scripts/bootstrap.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read() + b"\0")
    # Scripts in an environment hold its absolute path, so a clone that was moved needs a new one.
    digest.update(("%s\0%s\0%s" % (ROOT, os.path.realpath(sys.executable), sys.version)).encode())
    return digest.hexdigest()


def environment_python(wanted: str) -> str:
    return os.path.join(ROOT, ENVIRONMENTS[wanted], "bin", "python")


def install_with_uv(uv: str, wanted: str) -> None:
    environ = index_environment()
    # What finds torch is pip, which needs to be there.
    seeded = ["--seed"] if wanted == "torch" else []
    make = [uv, "venv", "--quiet", "--clear", *seeded, "--no-python-downloads", "--python", sys.executable]
    run([*make, ENVIRONMENTS[wanted]], environ)
    python = ["--quiet", "--python", environment_python(wanted)]
    # The tests start many processes. Where Python may not write its caches, as in many containers, each of them would
    # compile the same files again.
    compiled = ["--compile-bytecode"] if wanted == "dev" and os.environ.get("PYTHONDONTWRITEBYTECODE") else []
    run([uv, "pip", "sync", *python, *compiled, "--require-hashes", LOCKS[wanted]], environ)
    local = [argument for package in PACKAGES for argument in ("--editable", package)]
    # The build backend comes from the lock as well, so that this step asks the index for nothing.
    run([uv, "pip", "install", *python, "--no-deps", "--no-build-isolation", "--offline", *local], environ)


def install_with_pip(wanted: str, reason: str) -> None:
    """The way round for machines that uv is not made for or not reachable from, but that have pip and venv."""
    print("bootstrap: %s; trying venv and pip instead" % reason, file=sys.stderr)
    try:
        run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS[wanted]], os.environ)
    except subprocess.CalledProcessError:
        raise Unavailable(
            "%s, and this Python has no working venv and pip either (on Debian: apt install python3-venv)"
            % reason
        ) from None
    pip = pip_install(wanted)
    run([*pip, "--require-hashes", "--requirement", LOCKS[wanted]], os.environ)
    local = [argument for package in PACKAGES for argument in ("--editable", package)]
    run([*pip, "--no-deps", "--no-build-isolation", "--no-index", *local], os.environ)


def pip_install(wanted: str) -> list[str]:
    return [environment_python(wanted), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def install_torch(pip: list[str], also: list[str], environ: os._Environ[str] | dict[str, str]) -> None:
    """The build without CUDA where its index can be reached, else what the configured index has under that version.

    Args:
        pip: How to call the environment's `pip install`.
        also: What is installed together with it.
    """
    torch = torch_requirement()
    if platform.system() == "Linux":
        # Without its dependencies, so that the further index is asked once and not for every package.
        small = [*pip, "--retries", "1", "--no-deps", "--extra-index-url", TORCH_INDEX, torch + "+cpu"]
        if subprocess.run(small, check=False, cwd=ROOT, env=dict(environ), capture_output=True).returncode:
            print(
                "bootstrap: no CPU build of torch was found; trying the index's own, which may bring CUDA (3 GB) …",
                file=sys.stderr,
            )
    # The smaller build satisfies this where it is there, and only what it depends on is fetched.
    run([*pip, torch, *also], environ)


def torch_requirement() -> str:
    with open(os.path.join(ROOT, TORCH)) as file:
        return file.read().strip()


def run(command: list[str], environ: os._Environ[str] | dict[str, str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT, env=dict(environ))


# -- the pinned uv -----------------------------------------------------------------------------------------------------


def pinned_uv() -> str:
    """Path of the pinned uv, fetched once into the clone."""
    uv = os.path.join(TOOLS, "uv-" + UV_VERSION)
    if os.path.exists(uv):
        return uv
    system, machine = platform.system(), platform.machine()
    if (system, machine) not in UV_WHEELS:
        raise Unavailable("no uv is pinned for %s on %s" % (system, machine))
    name, sha256 = UV_WHEELS[system, machine]
    wheel = download_wheel(name)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        raise Unavailable("%s from %s does not have the pinned sha256" % (name, without_secrets(index_url())))
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        binary = archive.read("uv-%s.data/scripts/uv" % UV_VERSION)
    # A rename is atomic, so an interrupted run leaves no half of a program behind.
    with open(uv + ".part", "wb") as file:
        file.write(binary)
    os.chmod(uv + ".part", 0o755)
    os.replace(uv + ".part", uv)
    return uv


def download_wheel(name: str) -> bytes:
    page = index_url().rstrip("/") + "/uv/"
    try:
        links = Links(page)
        links.feed(fetch(page).decode("utf-8", "replace"))
        if name not in links.by_name:
            raise Unavailable("%s does not offer %s" % (without_secrets(page), name))
        return fetch(links.by_name[name])
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable("uv cannot be fetched from %s: %s" % (without_secrets(page), reason)) from error


class Links(html.parser.HTMLParser):
    """The files that a page of a package index (PEP 503) offers: `by_name` maps a file's name to its address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.by_name: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if tag == "a" and target:
            address = urllib.parse.urldefrag(urllib.parse.urljoin(self.page, target)).url
            self.by_name[urllib.parse.unquote(address.rsplit("/", 1)[-1])] = address


def fetch(url: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*;q=0.5"})
    if parts.username:
        # urllib does not read credentials out of an address, as pip and uv do.
        secret = "%s:%s" % (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
        plain = parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()
        request = urllib.request.Request(plain, headers=dict(request.headers))
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    with urllib.request.urlopen(request, timeout=60, context=tls_context()) as answer:
        return bytes(answer.read())


def without_secrets(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()


# -- the package index that this machine is configured for -------------------------------------------------------------


def index_url() -> str:
    environ = os.environ
    return (
        # uv lets an index have a name in front: corporate=https://….
        re.sub(r"^[\w.-]+=", "", environ.get("UV_DEFAULT_INDEX", ""))
        or environ.get("UV_INDEX_URL")
        or environ.get("PIP_INDEX_URL")
        or pip_setting("index-url")
        or "https://pypi.org/simple"
    )


def certificates() -> str:
    """The bundle that pip or OpenSSL are told to trust, or nothing for the system's own."""
    environ = os.environ
    return environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT") or pip_setting("cert")


def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates() or None)


def index_environment() -> dict[str, str]:
    """The environment in which uv uses the same index and certificates as this program."""
    environ = dict(os.environ)
    if index_url() != "https://pypi.org/simple" and not environ.get("UV_INDEX_URL"):
        environ.setdefault("UV_DEFAULT_INDEX", index_url())
    if certificates():
        environ.setdefault("SSL_CERT_FILE", certificates())
    # Like this program, uv shall trust what the system trusts: a company's proxy signs with a certificate of its own.
    environ.setdefault("UV_SYSTEM_CERTS", "true")
    # An environment that happens to be active is not the one to be made.
    environ.pop("VIRTUAL_ENV", None)
    return environ


def pip_setting(name: str) -> str:
    """A setting of pip's configuration files, the most specific file first; empty when none has it."""
    home = os.path.expanduser("~")
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    for path in (
        os.environ.get("PIP_CONFIG_FILE") or "",
        os.path.join(config_home, "pip", "pip.conf"),
        os.path.join(home, ".pip", "pip.conf"),
        *SYSTEM_PIP_FILES,
    ):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            value = parser.get(section, name, fallback="").strip()
            if value:
                return value
    return ""


if __name__ == "__main__":
    sys.exit(main())
