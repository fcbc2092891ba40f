"""A W&B of one's own and a worker that mirrors to it, beside the running service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from app.worker.known_sinks import Reach, known_sinks
from app.worker.main import run
from tests.client.live.service import Live
from tests.worker.wandb.standin import Standin

Working: TypeAlias = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A W&B of one's own, to which this service may send a key; before the service starts, which reads that."""
    for name in ("WANDB_API_KEY", "WANDB_ENTITY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    server = Standin()
    monkeypatch.setenv("TRUERUN_WANDB_BASE_URLS", f"https://api.wandb.ai,{server.url}")
    yield server
    server.stop()
    assert server.unknown == []


@pytest.fixture
def working(live: Live, wandb: Standin, tmp_path: Path) -> Working:
    """A worker in the background, which finds its key in the environment as it is then."""

    @contextmanager
    def working() -> Iterator[None]:
        reach = Reach(
            address=None,
            outgoing_networks="",
            needs_tls=True,
            wandb_base_urls=frozenset({"https://api.wandb.ai", wandb.url}),
            mirror_dir=tmp_path / "mirror",
        )
        stop = threading.Event()
        thread = threading.Thread(
            target=lambda: run(live.database_url, stop=stop, sinks=known_sinks(reach)), daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    return working
