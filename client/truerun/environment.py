"""What is noted of the machine: this list, and never arguments, output or other environment variables.

Two environment variables are on it, since they decide whether a run can be repeated: PYTHONHASHSEED and
CUBLAS_WORKSPACE_CONFIG.
"""

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
    """Hostname, versions, GPUs and determinism; what is not known is left out. Imports nothing and wakes no device."""
    found: dict[str, Any] = {"hostname": socket.gethostname(), "python": platform.python_version()}
    torch = sys.modules.get("torch")
    found["numpy"] = _text(getattr(sys.modules.get("numpy"), "__version__", None))
    found["determinism"] = determinism(torch) or None
    if torch is not None:
        found["torch"] = _text(getattr(torch, "__version__", None))
        found["cuda"] = _text(getattr(getattr(torch, "version", None), "cuda", None))
    names = _gpu_names(torch)
    if names:
        found["gpu"] = names[0]
        found["gpu_count"] = len(names)
    return {key: value for key, value in found.items() if value is not None}


def wandb_run() -> dict[str, str] | None:
    """The script's own W&B run, so that what the service mirrors stands beside it; None without one."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    named = {name: getattr(run, name, None) for name in ("id", "entity", "project")}
    found = {name: value[:128] for name, value in named.items() if isinstance(value, str) and value}
    return found if "id" in found else None


def determinism(torch: Any) -> dict[str, Any]:
    """What decides whether the same seed gives the same numbers, as it stands when the run begins.

    Args:
        torch: The module, if the training has imported it.
    """
    found: dict[str, Any] = {
        name.lower(): value[:64]
        for name in ("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG")
        if (value := os.environ.get(name))
    }
    has_newer = _read(torch, "backends.cuda.matmul.fp32_precision") is not None
    for name, path in {**_FLAGS, **(_NEWER if has_newer else _OLDER)}.items():
        value = _read(torch, path)
        if value is not None:
            found[name] = value if isinstance(value, bool) else str(value)[:64]
    return found


# Where torch keeps each flag. Since 2.9 there are two interfaces to TF32, and to ask the older one warns, or raises
# where the newer one has been used; the newer one never does.
_FLAGS = {
    "deterministic_algorithms": "are_deterministic_algorithms_enabled",
    "deterministic_warn_only": "is_deterministic_algorithms_warn_only_enabled",
    "cudnn_deterministic": "backends.cudnn.deterministic",
    "cudnn_benchmark": "backends.cudnn.benchmark",
    "default_dtype": "get_default_dtype",
}
_NEWER = {
    "matmul_precision": "backends.cuda.matmul.fp32_precision",
    "conv_precision": "backends.cudnn.conv.fp32_precision",
}
_OLDER = {
    "matmul_precision": "get_float32_matmul_precision",
    "matmul_tf32": "backends.cuda.matmul.allow_tf32",
    "cudnn_tf32": "backends.cudnn.allow_tf32",
}


def _read(torch: Any, path: str) -> Any:
    """A flag, or what the function of that name answers; None where this torch has none, or refuses."""
    found = torch
    try:
        for name in path.split("."):
            found = getattr(found, name)
        return found() if callable(found) else found
    except Exception:  # noqa: BLE001 - a flag that is gone or refuses must not cost the run
        return None


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
