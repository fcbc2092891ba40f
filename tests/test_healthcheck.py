from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app import healthcheck
from app.settings import Settings


@contextmanager
def something_that_answers(status: int, host: str = "127.0.0.1") -> Iterator[str]:
    """A server that is not busy with anything; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_an_api_that_answers_is_healthy_however_it_was_bound(host: str) -> None:
    with something_that_answers(200) as port:
        assert healthcheck.main({"TRUERUN_HOST": host, "TRUERUN_PORT": port}) == 0


def test_an_api_that_answers_with_an_error_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with something_that_answers(503) as port:
        assert healthcheck.main({"TRUERUN_PORT": port}) == 1

    assert "status 503" in capsys.readouterr().err


def test_where_nobody_answers_nothing_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else can answer there meanwhile.
        taken.bind(("127.0.0.1", 0))

        assert healthcheck.main({"TRUERUN_PORT": str(taken.getsockname()[1])}) == 1

    assert "refused" in capsys.readouterr().err
    assert healthcheck.main({"TRUERUN_PORT": "none"}) == 1


def test_its_defaults_are_those_of_the_service() -> None:
    fields = Settings.model_fields

    assert (fields["host"].default, str(fields["port"].default)) == (healthcheck.HOST, healthcheck.PORT)


def test_it_stays_light_since_engines_ask_every_few_seconds() -> None:
    script = "import sys, app.healthcheck; print(*{name.partition('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert set(loaded.stdout.split()) - set(sys.stdlib_module_names) == {"__main__", "app"}
