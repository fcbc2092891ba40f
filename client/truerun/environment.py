"""What is noted of the machine: this list, and never environment variables, arguments or output."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

GIT_SECONDS = 5.0
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def environment_of_machine() -> dict[str, Any]:
    """Hostname, versions and GPUs; what is not known is left out. Imports nothing and wakes no device."""
    found: dict[str, Any] = {"hostname": socket.gethostname(), "python": platform.python_version()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = _text(getattr(torch, "__version__", None))
        found["cuda"] = _text(getattr(getattr(torch, "version", None), "cuda", None))
    names = _gpu_names(torch)
    if names:
        found["gpu"] = names[0]
        found["gpu_count"] = len(names)
    return {key: value for key, value in found.items() if value is not None}


def source_of(script: str | None, working_directory: str | None) -> dict[str, Any]:
    """`git_commit` and `git_dirty` of the script's repository, else of the working directory's."""
    for start in (script and os.path.dirname(os.path.abspath(script)), working_directory):
        root = _git_root(Path(start)) if start else None
        if root is not None:
            return {"git_commit": _commit(root), "git_dirty": _is_dirty(root)}
    return {"git_commit": None, "git_dirty": None}


def _gpu_names(torch: Any) -> list[str]:
    cuda: Any = getattr(torch, "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    if callable(is_initialized) and is_initialized():
        return [str(cuda.get_device_name(i)) for i in range(cuda.device_count())]
    # Asking torch before the training did could claim memory on a device it does not use, and break its
    # forks.
    names: list[str] = []
    try:
        for card in sorted(_NVIDIA.iterdir()):
            lines = (card / "information").read_text(encoding="utf-8", errors="replace").splitlines()
            names.extend(line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))
    except OSError:
        return names
    return names


def _git_root(start: Path) -> Path | None:
    for directory in (start, *start.parents):
        if (directory / ".git").exists():
            return directory
    return None


def _commit(root: Path) -> str | None:
    """HEAD's commit, read from the files: git itself refuses a repository that another user owns."""
    try:
        git = root / ".git"
        if git.is_file():
            git = (root / git.read_text().partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return _checked(head)
        name = head.partition(":")[2].strip()
        common = git / "commondir"
        shared = (git / common.read_text().strip()).resolve() if common.is_file() else git
        for base in (git, shared):
            if (base / name).is_file():
                return _checked((base / name).read_text().strip())
        for line in (shared / "packed-refs").read_text().splitlines():
            commit, _, packed = line.partition(" ")
            if packed == name:
                return _checked(commit)
    except (OSError, UnicodeDecodeError):
        pass
    return None


def _checked(commit: str) -> str | None:
    return (
        commit if len(commit) in (40, 64) and all(digit in "0123456789abcdef" for digit in commit) else None
    )


def _is_dirty(root: Path) -> bool | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            # No lock is taken in the user's repository.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(done.stdout.strip()) if done.returncode == 0 else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
