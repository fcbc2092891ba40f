"""What only wandb's own log tells: `run.alert` returns the same whatever W&B answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ALERT = "sender: sendAlert: "
_TAKEN = "sender: sendAlert: notified scriptable run alert"


def alert_answers(log: Path) -> list[bool]:
    """For every alert that wandb has dealt with, in order, whether W&B said yes.

    Args:
        log: wandb's `debug-internal.log`, one JSON object a line; it may not be there yet.
    """
    try:
        lines = log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    # What stands after the last line break is still being written.
    said = (_parsed(line) for line in lines[:-1] if _ALERT.encode() in line)
    return [_is_yes(line) for line in said if str(line.get("msg", "")).startswith(_ALERT)]


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
