"""The environment of the demo's training: what is installed, and what is said where it cannot be."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
# Where nothing listens.
NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, whose environment holds a Python that notes what it is asked."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("train_environment", ROOT / "scripts/train_environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PYTHON = str(tmp_path / "python")
    return module


def a_python(script: ModuleType, *, has_cpu_build: bool) -> Path:
    """Put a Python in place that only notes its arguments; returns where."""
    calls = Path(script.PYTHON).with_name("calls")
    code = 0 if has_cpu_build else 1
    Path(script.PYTHON).write_text(
        f'#!/bin/sh\necho "$*" >> "{calls}"\ncase "$*" in *+cpu*) exit {code};; esac\n'
    )
    Path(script.PYTHON).chmod(0o755)
    return calls


@pytest.mark.skipif(platform.system() != "Linux", reason="only for Linux there are two builds")
@pytest.mark.parametrize("has_cpu_build", [True, False])
def test_the_build_without_cuda_is_asked_for_first(
    script: ModuleType, capsys: pytest.CaptureFixture[str], has_cpu_build: bool
) -> None:
    calls = a_python(script, has_cpu_build=has_cpu_build)

    script.install()

    cpu, rest = calls.read_text().splitlines()
    torch, index = script.bootstrap.torch_requirement(), script.bootstrap.TORCH_INDEX
    assert cpu.endswith(f"--no-deps --extra-index-url {index} {torch}+cpu")
    assert f" {torch} numpy==" in rest
    assert rest.endswith(" --editable client")
    assert ("may bring CUDA" in capsys.readouterr().err) is not has_cpu_build


def test_numpy_is_the_one_that_the_service_is_locked_to(script: ModuleType) -> None:
    lock = (ROOT / "requirements/server.txt").read_text()

    pins = script.pinned("numpy")

    assert pins
    assert all(f"\n{pin} \\\n" in lock for pin in pins)
    assert not any(name in pin for pin in pins for name in ("typing", "scipy"))


def test_version_and_index_of_torch_stand_in_one_place_each(script: ModuleType) -> None:
    def files_with(text: str) -> list[str]:
        places = ["scripts", "bench", "docs", "requirements", "Makefile", "pyproject.toml"]
        found = subprocess.run(
            ["git", "grep", "-lF", text, "--", *places],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return found.stdout.split()

    _, version = script.bootstrap.torch_requirement().split("==")
    assert files_with(version) == ["requirements/torch.txt"]
    assert files_with(script.bootstrap.TORCH_INDEX) == ["scripts/bootstrap.py"]


def test_without_a_network_a_sentence_says_so_and_the_demo_stays_as_it_was(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, clone / name)
    (clone / "client").mkdir()
    shutil.copy(ROOT / "client/pyproject.toml", clone / "client")
    offline = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
        "NO_PROXY": "*",
        "PATH": os.environ["PATH"],
    }

    done = subprocess.run(
        [sys.executable, "scripts/train_environment.py"],
        cwd=clone, env=offline, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[0].startswith("bootstrap: making .venv-train with torch")
    assert said[0].endswith("once, for a minute or two …")
    assert "cannot be installed here: " in said[-2]
    assert said[-1] == "bootstrap: nothing else needs it; `make demo` without TRAIN=1 works as before"
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv-train" / "truerun-environment").exists()
    assert not (clone / ".venv").exists()
