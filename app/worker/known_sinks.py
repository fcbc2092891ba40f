"""Every kind of sink that this release knows, with what the operator allows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.db import SessionFactory
from app.domain.sinks import SinkKind
from app.worker.log_sink import LogSink
from app.worker.notices.addresses import networks
from app.worker.notices.chat import ChatSink
from app.worker.notices.webhook import WebhookSink
from app.worker.sinks import Sink, SinkMaker
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_sink import WandbSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What sinks may reach.

    Args:
        address: The service's own, for links to its pages; None where it does not know it.
        outgoing_networks: Networks by commas, besides public addresses, that notices may be sent to.
        needs_tls: Whether chat addresses that are not encrypted are refused.
        wandb_base_urls: The W&B servers that may be given a key.
        mirror_dir: Where W&B jobs work, and where offline runs are kept.
    """

    address: str | None
    outgoing_networks: str
    needs_tls: bool
    wandb_base_urls: frozenset[str]
    mirror_dir: Path


def usual_mirror_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Below the user's state directory."""
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "truerun" / "mirror"


def known_sinks(reach: Reach) -> Mapping[str, SinkMaker]:
    """By kind."""
    allowed = networks(reach.outgoing_networks)

    def wandb(sessions: SessionFactory) -> Sink:
        runner = Runner(place=reach.mirror_dir, allowed=reach.wandb_base_urls)
        # What a worker that was killed has left there.
        runner.sweep()
        return WandbSink(sessions, runner, address=reach.address)

    return {
        SinkKind.LOG.value: lambda _: LogSink(),
        SinkKind.WANDB.value: wandb,
        SinkKind.APPRISE.value: lambda sessions: ChatSink(
            sessions, allowed=reach.outgoing_networks, needs_tls=reach.needs_tls, address=reach.address
        ),
        SinkKind.WEBHOOK.value: lambda sessions: WebhookSink(
            sessions, allowed=allowed, address=reach.address
        ),
    }
