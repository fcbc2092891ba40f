"""Making the environment on a bare machine: which index is asked, and what is believed of its answer."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import platform
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, on a machine without any configuration, with a tool directory of its own."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in (
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "PIP_INDEX_URL",
        "PIP_CONFIG_FILE",
        "PIP_CERT",
        "SSL_CERT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    module.TOOLS = str(tmp_path)
    # Configuration of the machine that the tests run on is not part of the tests.
    module.SYSTEM_PIP_FILES = ()
    return module


class Index:
    """A package index that offers one file."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content
        self.authorizations: list[str | None] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.authorizations.append(self.headers["Authorization"])
                answers = {
                    "/simple/uv/": f'<a href="../../files/{index.name}#sha256=0">{index.name}</a>'.encode(),
                    f"/files/{index.name}": index.content,
                }
                answer = answers.get(self.path)
                self.send_response(200 if answer is not None else 404)
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def a_wheel(version: str, program: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"uv-{version}.data/scripts/uv", program)
    return content.getvalue()


@pytest.fixture
def index(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index with a wheel that the script pins, holding a program of one line."""
    wheel = a_wheel(bootstrap.UV_VERSION, b"#!/bin/sh\n")
    pinned = ("uv-pinned.whl", hashlib.sha256(wheel).hexdigest())
    bootstrap.UV_WHEELS = {(platform.system(), platform.machine()): pinned}
    index = Index(pinned[0], wheel)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.host}/simple")
    yield index
    index.server.shutdown()
    index.server.server_close()


def test_without_configuration_the_public_index_is_asked(bootstrap: ModuleType) -> None:
    assert bootstrap.index_url() == "https://pypi.org/simple"
    assert "UV_DEFAULT_INDEX" not in bootstrap.index_environment()


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"PIP_INDEX_URL": "https://pip/simple"}, "https://pip/simple"),
        ({"PIP_INDEX_URL": "https://pip/simple", "UV_INDEX_URL": "https://uv/simple"}, "https://uv/simple"),
        ({"UV_INDEX_URL": "https://old/simple", "UV_DEFAULT_INDEX": "https://uv/?a=b"}, "https://uv/?a=b"),
        ({"UV_DEFAULT_INDEX": "our.own=https://uv/simple"}, "https://uv/simple"),
    ],
    ids=["pip", "uv before pip", "default index before index url", "named"],
)
def test_the_index_of_the_environment_is_asked(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert bootstrap.index_url() == url


def test_the_index_and_certificates_of_pips_own_file_count_for_uv_as_well(
    bootstrap: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[global]\nindex-url = https://ana:100%@mirror/simple\ncert = /etc/our.pem\n")

    assert bootstrap.index_url() == "https://ana:100%@mirror/simple"
    assert bootstrap.index_environment()["UV_DEFAULT_INDEX"] == "https://ana:100%@mirror/simple"
    assert bootstrap.index_environment()["SSL_CERT_FILE"] == "/etc/our.pem"


def test_a_file_of_pip_that_cannot_be_read_is_passed_over(bootstrap: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("no section\n")

    assert bootstrap.index_url() == "https://pypi.org/simple"


def test_the_pinned_tool_is_fetched_once(bootstrap: ModuleType, index: Index) -> None:
    path = Path(bootstrap.pinned_uv())

    assert path.read_bytes() == b"#!/bin/sh\n"
    assert path.stat().st_mode & 0o111 == 0o111
    asked = len(index.authorizations)
    assert bootstrap.pinned_uv() == str(path)
    assert len(index.authorizations) == asked


def test_credentials_in_the_address_are_sent(
    bootstrap: ModuleType, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ana:p%40ss@{index.host}/simple/")

    bootstrap.pinned_uv()

    assert index.authorizations == [f"Basic {base64.b64encode(b'ana:p@ss').decode()}"] * 2


def test_a_file_with_another_hash_is_not_used(bootstrap: ModuleType, index: Index, tmp_path: Path) -> None:
    index.content = a_wheel(bootstrap.UV_VERSION, b"something else")

    with pytest.raises(bootstrap.Unavailable, match="does not have the pinned sha256"):
        bootstrap.pinned_uv()

    assert list(tmp_path.glob("uv*")) == []


def test_an_index_without_the_pinned_file_is_named_without_its_password(
    bootstrap: ModuleType, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.name = "uv-another.whl"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ana:very-secret@{index.host}/simple")

    with pytest.raises(
        bootstrap.Unavailable, match=rf"http://{index.host}/simple/uv/ does not offer"
    ) as caught:
        bootstrap.pinned_uv()

    assert "very-secret" not in str(caught.value)


def test_an_index_out_of_reach_is_named(bootstrap: ModuleType, index: Index) -> None:
    index.server.shutdown()
    index.server.server_close()

    with pytest.raises(bootstrap.Unavailable, match=r"cannot be fetched from .*/simple/uv/: .*refused"):
        bootstrap.pinned_uv()


def test_a_machine_without_a_pinned_tool_is_named(bootstrap: ModuleType) -> None:
    bootstrap.UV_WHEELS = {}

    with pytest.raises(bootstrap.Unavailable, match=f"no uv is pinned for {platform.system()}"):
        bootstrap.pinned_uv()


@pytest.mark.parametrize("lock", ["server.txt", "dev.txt"])
def test_every_locked_package_has_its_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    packages = [entry for entry in text.split("\n") if entry and not entry.startswith((" ", "#"))]

    assert packages
    assert all(entry.endswith("\\") for entry in packages)
    assert "torch==" not in text


def test_tests_and_service_run_on_the_same_versions() -> None:
    def pins(lock: str) -> set[str]:
        lines = (ROOT / "requirements" / lock).read_text().split("\n")
        return {
            line.removesuffix(" \\") for line in lines if "==" in line and not line.startswith((" ", "#"))
        }

    assert pins("server.txt") <= pins("dev.txt")
