"""What only wandb's own log tells: `run.alert` and `run.finish` return the same whatever W&B answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ALERT = "sender: sendAlert: "
_TAKEN = "sender: sendAlert: notified scriptable run alert"
_NO_ARTIFACT = "sender: failed to log artifact"


def alert_answers(log: Path) -> list[bool]:
    """For every alert that wandb has dealt with, in order, whether W&B said yes.

    Args:
        log: wandb's `debug-internal.log`, one JSON object a line; it may not be there yet.
    """
    return [_is_yes(line) for line in _lines(log, _ALERT)]


def lost_artifacts(log: Path) -> list[str]:
    """Why tables did not become artifacts, of which W&B's page draws them; their files may be there all the same."""
    return [str(line["msg"]) for line in _lines(log, _NO_ARTIFACT)]


def _lines(log: Path, beginning: str) -> list[dict[str, Any]]:
    try:
        lines = log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    # What stands after the last line break is still being written.
    said = (_parsed(line) for line in lines[:-1] if beginning.encode() in line)
    return [line for line in said if str(line.get("msg", "")).startswith(beginning)]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _is_yes(line: dict[str, Any]) -> bool:
    data = line.get("data")
    answer = data.get("notifyScriptableRunAlert") if isinstance(data, dict) else None
    return line.get("msg") == _TAKEN and isinstance(answer, dict) and answer.get("success") is True
