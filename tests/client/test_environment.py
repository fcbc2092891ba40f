"""What is noted of the machine and the code: the list and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from truerun.environment import environment_of_machine, source_of

ALLOWED = {"hostname", "python", "numpy", "torch", "cuda", "gpu", "gpu_count", "determinism"}


def a_repository(path: Path) -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    path.mkdir(exist_ok=True)
    git("init", "-q")
    (path / "train.py").write_text("pass\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return git("rev-parse", "HEAD")


def test_only_what_is_on_the_list_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_API_KEY", "secret-key")
    monkeypatch.setattr(sys, "argv", ["train.py", "--password=secret-key"])

    noted = environment_of_machine()

    assert set(noted) <= ALLOWED
    assert "secret-key" not in repr(noted)


def test_versions_of_torch_are_noted_only_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "torch" not in environment_of_machine()
    assert "torch" not in sys.modules

    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, get_device_name=lambda i: f"card {i}"
    )
    loaded = SimpleNamespace(__version__="2.13.0", version=SimpleNamespace(cuda="13.0"), cuda=cuda)
    monkeypatch.setitem(sys.modules, "torch", loaded)

    noted = environment_of_machine()

    assert (noted["torch"], noted["cuda"], noted["gpu"], noted["gpu_count"]) == (
        "2.13.0",
        "13.0",
        "card 0",
        2,
    )


def test_a_device_that_the_training_has_not_touched_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("the device was touched")

    cuda = SimpleNamespace(is_initialized=lambda: False, device_count=touched, get_device_name=touched)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2", cuda=cuda))

    assert environment_of_machine()["torch"] == "2"


def a_torch(**backends: Any) -> SimpleNamespace:
    """A torch of before 2.9, with other backends laid over."""
    cudnn = SimpleNamespace(deterministic=True, benchmark=False, allow_tf32=True)
    matmul = SimpleNamespace(allow_tf32=False)
    return SimpleNamespace(
        __version__="2.4",
        are_deterministic_algorithms_enabled=lambda: True,
        is_deterministic_algorithms_warn_only_enabled=lambda: False,
        get_float32_matmul_precision=lambda: "high",
        get_default_dtype=lambda: "torch.float32",
        backends=SimpleNamespace(cudnn=cudnn, cuda=SimpleNamespace(matmul=matmul), **backends),
    )


def test_what_decides_whether_a_run_repeats_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", a_torch())
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    assert environment_of_machine()["determinism"] == {
        "pythonhashseed": "0",
        "cublas_workspace_config": ":4096:8",
        "deterministic_algorithms": True,
        "deterministic_warn_only": False,
        "cudnn_deterministic": True,
        "cudnn_benchmark": False,
        "default_dtype": "torch.float32",
        "matmul_precision": "high",
        "matmul_tf32": False,
        "cudnn_tf32": True,
    }


def test_a_newer_torch_is_not_asked_by_the_interface_that_warns_and_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Matmul:
        fp32_precision = "ieee"

        @property
        def allow_tf32(self) -> bool:
            raise AssertionError("the older interface was asked")

    torch = a_torch()
    torch.backends.cuda.matmul = Matmul()
    torch.backends.cudnn.conv = SimpleNamespace(fp32_precision="tf32")
    monkeypatch.setitem(sys.modules, "torch", torch)

    noted = environment_of_machine()["determinism"]

    assert (noted["matmul_precision"], noted["conv_precision"]) == ("ieee", "tf32")
    assert noted.keys().isdisjoint({"matmul_tf32", "cudnn_tf32"})


def test_a_flag_that_refuses_to_be_read_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise RuntimeError("mixed interfaces")

    torch = a_torch()
    torch.are_deterministic_algorithms_enabled = refuse
    monkeypatch.setitem(sys.modules, "torch", torch)

    noted = environment_of_machine()["determinism"]

    assert "deterministic_algorithms" not in noted
    assert noted["cudnn_deterministic"] is True


def test_without_torch_or_any_setting_there_is_no_determinism_to_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in ("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    assert "determinism" not in environment_of_machine()


def test_the_commit_is_the_scripts_and_a_change_makes_it_dirty(tmp_path: Path) -> None:
    commit = a_repository(tmp_path / "code")
    script = str(tmp_path / "code" / "train.py")

    clean = source_of(script, str(tmp_path))
    (tmp_path / "code" / "train.py").write_text("pass  # changed\n")
    dirty = source_of(script, str(tmp_path))

    assert clean == {"git_commit": commit, "git_dirty": False}
    assert dirty == {"git_commit": commit, "git_dirty": True}


def test_without_a_script_the_working_directory_counts(tmp_path: Path) -> None:
    commit = a_repository(tmp_path / "code")
    (tmp_path / "code" / "deep").mkdir()

    assert source_of(None, str(tmp_path / "code" / "deep"))["git_commit"] == commit


def test_a_packed_branch_a_detached_head_and_a_worktree_are_read(tmp_path: Path) -> None:
    repository = tmp_path / "code"
    commit = a_repository(repository)

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True)

    git("worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    git("pack-refs", "--all")
    assert source_of(None, str(repository))["git_commit"] == commit
    assert source_of(None, str(tmp_path / "tree"))["git_commit"] == commit

    git("checkout", "-q", "--detach")
    assert source_of(None, str(repository))["git_commit"] == commit


def test_no_repository_is_nothing_known(tmp_path: Path) -> None:
    assert source_of(None, str(tmp_path)) == {"git_commit": None, "git_dirty": None}
    assert source_of(None, None) == {"git_commit": None, "git_dirty": None}
