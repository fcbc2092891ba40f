"""Every command and snippet of the pages is run, each page from top to bottom beside a service of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.domain.policies import policy_from_toml
from tests.conftest import copy_data_dir
from tests.docs.pages import (
    ROOT,
    RUNNABLE,
    Block,
    blocks,
    commands,
    conversations,
    looks_like_a_command,
    pages,
    pattern_of,
)
from tests.supervisor.running import Up

# Blocks marked `not-run`, by their first line, each with what shows instead that they work.
NOT_RUN: dict[tuple[str, str], str] = {
    (
        "README.md",
        "make demo      # a real regression that every average hid; keeps serving, Ctrl-C stops it",
    ): ("tests/supervisor and this test start the same service; the demo's output is compared below"),
    (
        "docs/getting-started.md",
        "make demo TRAIN=1    # instead of `make demo`; the first time it fetches torch (200 MB) into .venv-train",
    ): "installs torch; tests/client/live/test_training_demo.py runs the training where torch is there",
    (
        "docs/deploy.md",
        "cp .env.example .env",
    ): "needs an engine; tests/containers/test_compose.py tries its parts",
    (
        "docs/deploy.md",
        "export TRUERUN_URL=http://127.0.0.1:8750 TRUERUN_TOKEN=trn_…",
    ): "the token is that of the containers; tests/containers/test_installation.py does the same",
    (
        "docs/deploy.md",
        "docker compose exec -T postgres pg_dump --username truerun --format custom truerun > before.dump",
    ): "needs an engine; tests/containers/test_compose.py tries its parts",
    (
        "docs/deploy.md",
        'docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag truerun-server:0.1.0 .',
    ): "needs an engine; `make try-image` runs the Dockerfile's steps",
    (
        "docs/deploy.md",
        "pip install --require-hashes -r requirements/server.txt && pip install --no-deps .",
    ): "installs into the running environment; tests/containers/test_installation.py does the same elsewhere",
}
STEP_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who types what a page says, in a directory of his own."""

    home: Path
    environ: dict[str, str]

    def types(self, block: Block) -> None:
        match block.kind:
            case "sh":
                self._commands(block)
            case "console":
                for command, printed in conversations(block.text):
                    shown = self._shell(f"{{ {command}\n}} 2>&1 || true", block)
                    assert pattern_of(printed).fullmatch(f"{shown.strip()}\n"), (
                        f"{block.where}: `{command}` prints\n{shown}"
                    )
            case "python":
                script = self.home / (block.name or f"line_{block.line}.py")
                script.write_text(block.text)
                self._shell(f"python {script.name}", block)
            case "toml":
                tomllib.loads(block.text)
                policy_from_toml(block.text, version=1)
                self._keep(block)
            case "json":
                json.loads(block.text)
                self._keep(block)

    def _keep(self, block: Block) -> None:
        if block.name is not None:
            (self.home / block.name).write_text(f"{block.text}\n")

    def _commands(self, block: Block) -> None:
        for command, code in commands(block.text):
            script = f"code=0\n{{ {command}\n}} || code=$?\n"
            self._shell(f"{script}[ $code -eq {code} ] || {{ echo exit code $code >&2; exit 99; }}", block)

    def _shell(self, script: str, block: Block) -> str:
        """Run it with the variables that the page's earlier commands have set; returns what it printed."""
        state = self.home / ".variables"
        script = f"set -a\n[ -f {state} ] && . {state}\nset -u\n{script}\nexport -p > {state}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.where}\n{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def after_the_demo(used_once: Path, passable_tmp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` leaves behind: data and configuration, of which each page gets a copy."""
    left = passable_tmp / "after-the-demo"
    left.mkdir(mode=0o711)
    copy_data_dir(used_once, left / "data")
    home = tmp_path_factory.mktemp("demo")
    service = _service(left)
    try:
        service.ready()
        environ = _environ(home, left)
        demo = [sys.executable, "-m", "truerun.demo"]
        shown = subprocess.run(demo, env=environ, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, f"{shown.stdout[-2000:]}\n{shown.stderr}\n{service.output[-4000:]}"
    finally:
        service.stop()
    return left


@pytest.fixture
def reader(after_the_demo: Path, empty_dir: Path, tmp_path: Path) -> Iterator[Reader]:
    """A reader beside a service that has the demo's data."""
    copy_data_dir(after_the_demo / "data", empty_dir / "data")
    shutil.copytree(after_the_demo / "config", empty_dir / "config")
    service = _service(empty_dir)
    try:
        service.ready()
        home = tmp_path / "clone"
        home.mkdir()
        (home / ".venv").symlink_to(ROOT / ".venv")
        (home / "client").symlink_to(ROOT / "client")
        (home / "bin").mkdir()
        curl = home / "bin" / "curl"
        curl.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("curl.py")}" "$@"\n')
        curl.chmod(0o755)
        environ = _environ(tmp_path, empty_dir)
        environ["PATH"] = f"{home / 'bin'}:{environ['PATH']}"
        yield Reader(home, environ)
    finally:
        service.stop()


def _service(place: Path) -> Up:
    # Nobody reads what it says once it is ready, and a full pipe would make it wait.
    mirror = {"TRUERUN_MIRROR_DIR": str(place / "mirror")}
    return Up(place / "data", place / "config", TRUERUN_LOG_LEVEL="warning", **mirror)


def _environ(home: Path, place: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRUERUN_", "GITHUB_", "WANDB_"))
    }
    kept.pop("DATABASE_URL", None)
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "TRUERUN_DATA_DIR": str(place / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(home / "summary.md"),
        "COLUMNS": "140",
    }


@pytest.mark.parametrize("page", pages())
def test_a_page_can_be_followed_from_top_to_bottom(page: str, reader: Reader) -> None:
    typed = 0
    for block in blocks(page):
        if block.kind in RUNNABLE and block.is_run:
            reader.types(block)
            typed += 1

    assert typed or not any(block.kind in RUNNABLE for block in blocks(page)) or not_run(page)


@pytest.mark.parametrize("page", pages())
def test_nothing_that_looks_like_a_command_goes_untried(page: str) -> None:
    untried = [
        block.where
        for block in blocks(page)
        if (block.kind not in RUNNABLE and looks_like_a_command(block))
        or (not block.is_run and (page, block.text.splitlines()[0]) not in NOT_RUN)
    ]

    assert not untried


def test_nothing_is_excused_that_is_not_there() -> None:
    excused = {(page, block.text.splitlines()[0]) for page in pages() for block in not_run(page)}

    assert excused == NOT_RUN.keys()


def not_run(page: str) -> list[Block]:
    return [block for block in blocks(page) if not block.is_run]
