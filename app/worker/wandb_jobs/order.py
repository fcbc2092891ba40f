"""Where a job goes and how long it may take: what the parent tells the child beside the job itself."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.worker.wandb_jobs import job as jobs
from app.worker.wandb_jobs.job import Job


class Mode(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A W&B project.

    Args:
        base_url: Of the W&B server's API.
        entity: The team or user that the project belongs to; "" is the key's own.
    """

    base_url: str
    entity: str
    project: str
    mode: Mode = Mode.ONLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds in seconds, and how often wandb itself tries a request again.

    The long waits are the dispatcher's, so wandb gives up early. `whole_seconds` holds whatever wandb does: its own
    bounds do not (a refused alert keeps `finish` for minutes).
    """

    whole_seconds: float = 60.0
    init_seconds: float = 15.0
    finish_seconds: float = 15.0
    request_seconds: float = 5.0
    retries: int = 3
    shortest_wait_seconds: float = 0.3
    longest_wait_seconds: float = 1.0
    taken_seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job for one child.

    Args:
        directory: The child's own, in which all it writes lies.
    """

    job: Job
    target: Target
    directory: str
    limits: Limits = field(default_factory=Limits)

    @property
    def pictures(self) -> Path:
        """Where the data of the job's pictures lies, each under its `file_name`."""
        return Path(self.directory) / "pictures"


def to_document(order: Order) -> dict[str, Any]:
    return {
        "job": jobs.to_document(order.job),
        "target": asdict(order.target),
        "directory": order.directory,
        "limits": asdict(order.limits),
    }


def from_document(document: dict[str, Any]) -> Order:
    """The order again.

    Raises:
        KeyError, TypeError, ValueError: It is not what `to_document` made.
    """
    target = document["target"]
    return Order(
        job=jobs.from_document(document["job"]),
        target=Target(**{**target, "mode": Mode(target["mode"])}),
        directory=document["directory"],
        limits=Limits(**document["limits"]),
    )


def sync_command(target: Target, directory: str) -> str:
    """What a person types to bring an offline run to W&B, at the same absolute path where it was written.

    With the very wandb that wrote it, which need not be on anybody's path.
    """
    beside = Path(sys.executable).with_name("wandb")
    program = str(beside) if beside.exists() else "wandb"
    address = f"WANDB_BASE_URL={target.base_url}"
    owner = ["--entity", target.entity] if target.entity else []
    where = [*owner, "--project", target.project]
    return shlex.join(["env", address, program, "sync", *where, directory])


def address_problem(base_url: str, allowed: Collection[str]) -> str | None:
    """Why the key must not be sent to this address; None where it may.

    Whoever may set a project's address could otherwise have the key sent to a server of theirs.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{base_url!r} is not an http address"
    if parts.username is not None or parts.query or parts.fragment:
        return f"{base_url!r} must be a plain address, without a user, a query or a fragment"
    if _plain(base_url) not in {_plain(each) for each in allowed}:
        return f"{base_url} is not among the W&B servers that this service may send its key to"
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        return f"{base_url} must be https, since it would receive the key in the clear"
    return None


def _plain(url: str) -> str:
    return url.strip().rstrip("/").lower()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
