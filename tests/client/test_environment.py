"""What is noted of the machine and the code: the list and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from truerun.environment import environment_of_machine, source_of

ALLOWED = {"hostname", "python", "torch", "cuda", "gpu", "gpu_count"}


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
