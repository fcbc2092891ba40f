"""Environments of their own for programs that are not ours, made once below the user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class NotInstallable(RuntimeError):
    """A package could not be had here; its message is the installer's last word."""


def environment(packages: Sequence[str]) -> Path:
    """Python of an environment with exactly these packages, made when it is not there.

    Args:
        packages: Pinned, the one that gives the environment its name first.

    Raises:
        NotInstallable: There is no network, or no build of it for this Python.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    asked = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:8]
    name = packages[0].rpartition("/")[2].replace("==", "-")
    place = cache / "truerun" / f"{name}-{asked}"
    python = place / "bin" / "python"
    done = place / "installed"
    if not done.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--prefer-binary", *packages])
        done.touch()
    return python


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise NotInstallable(said[-1].removeprefix("ERROR:").strip())
