"""Runs one job in a child process of its own, and ends it whatever happens.

wandb starts a helper process, can wait for minutes in spite of its own timeouts, and cannot be used again in a process
whose helper has died: nothing of it is let into the worker.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psutil
import structlog

from app.worker.network_environ import network_environ
from app.worker.wandb_jobs import job as jobs
from app.worker.wandb_jobs import order as orders
from app.worker.wandb_jobs import outcome as outcomes
from app.worker.wandb_jobs.job import Job
from app.worker.wandb_jobs.order import Limits, Mode, Order, Target, address_problem
from app.worker.wandb_jobs.outcome import Outcome, State

_log = structlog.get_logger("truerun.worker")
_LOCK = "lock"
_OUTCOME = "outcome.json"
_GONE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where children live and what they may.

    Args:
        place: A directory of ours, made when it is needed; on a disk that lasts if runs are kept offline.
        allowed: The W&B servers that a key may be sent to.
        environ: Whose proxies and certificates are passed on.
    """

    place: Path
    allowed: frozenset[str]
    limits: Limits = field(default_factory=Limits)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run(self, job: Job, target: Target, *, key: str | None) -> Outcome:
        """Bring one job to W&B, in at most `limits.whole_seconds` and a little; whatever happens there is an outcome.

        Two at once on the same `job.run_id` would lose a row: that lock is the caller's.

        Args:
            key: Of W&B's API; needed online only.
        """
        problem = address_problem(target.base_url, self.allowed)
        if problem is not None:
            return Outcome(state=State.REFUSED, reason=problem)
        if target.mode is Mode.OFFLINE:
            return self._kept(job, target)
        if not key:
            return Outcome(state=State.PAUSED, reason="there is no key for W&B")
        with self._directory("online", f"{job.run_id}.{os.urandom(4).hex()}") as directory:
            outcome = self._tried(
                Order(job=job, target=target, directory=str(directory), limits=self.limits), key
            )
            _remove(directory)
            return outcome

    def sweep(self) -> int:
        """Remove what a worker that was killed has left behind; how many directories that were."""
        gone = 0
        for lock in sorted(self.place.glob(f"*/*/{_LOCK}")):
            directory = lock.parent
            with lock.open("rb") as file:
                if (directory / _OUTCOME).exists() or not _locked(file):
                    continue
                _end(directory)
                _remove(directory)
                gone += 1
        return gone

    def _kept(self, job: Job, target: Target) -> Outcome:
        """The run on disk, written once however often it is asked for: each copy would be another row at W&B."""
        said = json.dumps(
            [jobs.to_document(job), target.base_url, target.entity, target.project], sort_keys=True
        )
        name = f"{job.run_id}.{job.rev}.{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        known = self.place / "offline" / name / _OUTCOME
        if known.exists():
            return outcomes.from_document(json.loads(known.read_text()))
        with self._directory("offline", name) as directory:
            outcome = self._tried(
                Order(job=job, target=target, directory=str(directory), limits=self.limits), None
            )
            if outcome.state is not State.KEPT_OFFLINE:
                _remove(directory)
                return outcome
            # Renamed into place: half an outcome would be taken for a whole one.
            draft = directory / f"{_OUTCOME}.new"
            draft.write_text(json.dumps(outcomes.to_document(outcome)))
            draft.replace(known)
            return outcome

    @contextmanager
    def _directory(self, kind: str, name: str) -> Iterator[Path]:
        """A directory that is locked as long as somebody works in it, so that `sweep` knows what is left over."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = (self.place / kind / name).absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / _LOCK).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield directory

    def _tried(self, order: Order, key: str | None) -> Outcome:
        directory = Path(order.directory)
        (directory / "tmp").mkdir(exist_ok=True)
        _lay_out(order)
        reading, writing = os.pipe()
        try:
            with (
                tempfile.TemporaryFile() as asked,
                tempfile.TemporaryFile() as answered,
                (directory / "child.log").open("w+b") as complaints,
            ):
                # Files, since a pipe that nobody reads or closes any more could hold us up.
                asked.write(json.dumps(orders.to_document(order)).encode() + b"\n")
                asked.seek(0)
                child = subprocess.Popen(
                    # -P: there is a folder named wandb in the directory in which it works.
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "app.worker.wandb_jobs.child",
                        order.directory,
                        str(reading),
                    ],
                    stdin=asked,
                    stdout=answered,
                    stderr=complaints,
                    cwd=order.directory,
                    env=self._environment(order, key),
                    pass_fds=(reading,),
                    start_new_session=True,
                )
                ended = _waited(child, order.limits.whole_seconds)
                _end(directory, child)
                # wandb has made copies of its own.
                shutil.rmtree(order.pictures, ignore_errors=True)
                return _outcome(answered, complaints, child.returncode if ended else None, order, key)
        finally:
            os.close(reading)
            os.close(writing)

    def _environment(self, order: Order, key: str | None) -> dict[str, str]:
        limits, directory = order.limits, Path(order.directory)
        own = {
            name: str(directory / folder)
            for name, folder in {
                "HOME": "home",
                "TMPDIR": "tmp",
                "WANDB_CACHE_DIR": "cache",
                "WANDB_CONFIG_DIR": "config",
                "WANDB_DATA_DIR": "data",
                "WANDB_ARTIFACT_DIR": "artifacts",
            }.items()
        }
        return {
            **network_environ(self.environ),
            **own,
            **({"WANDB_API_KEY": key} if key else {}),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONNOUSERSITE": "1",
            "WANDB_BASE_URL": order.target.base_url,
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_HTTP_TIMEOUT": str(max(1, round(limits.request_seconds))),
            # For reading; what writes gets the same as Settings.
            "WANDB_X_GRAPHQL_RETRY_MAX": str(limits.retries),
            "WANDB_X_GRAPHQL_RETRY_WAIT_MIN_SECONDS": str(limits.shortest_wait_seconds),
            "WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS": str(limits.longest_wait_seconds),
            "WANDB_X_GRAPHQL_TIMEOUT_SECONDS": str(limits.request_seconds),
        }


def _lay_out(order: Order) -> None:
    if order.job.pictures:
        order.pictures.mkdir(exist_ok=True)
    for picture in order.job.pictures:
        (order.pictures / picture.file_name).write_bytes(picture.data)


def _waited(child: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(directory: Path, child: subprocess.Popen[bytes] | None = None) -> None:
    """Kill the child and its helpers, until none is left.

    wandb's helper runs in a session of its own, so the child's group is not all; but its command line names the job's
    directory, as the child's does.
    """
    if child is not None and child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    left = [process for process in psutil.process_iter() if _belongs(process, directory)]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(left, timeout=_GONE_SECONDS)
    for process in alive:
        _log.error("wandb_process_left", pid=process.pid, directory=str(directory))


def _belongs(process: psutil.Process, directory: Path) -> bool:
    try:
        arguments = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
    return any(part == str(directory) or part.startswith(f"{directory}/") for part in arguments)


def _outcome(
    answered: BinaryIO, complaints: BinaryIO, status: int | None, order: Order, key: str | None
) -> Outcome:
    answered.seek(0)
    line = answered.read()
    if line.endswith(b"\n"):
        outcome = outcomes.from_document(json.loads(line))
        return outcomes.without(outcome, key)
    if status is None:
        reason = f"killed after {order.limits.whole_seconds:g} s"
    else:
        complaints.seek(0)
        last = complaints.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = f"the child process ended with status {status}: {''.join(last)[:300]}"
    return outcomes.without(Outcome(state=State.RETRY, reason=reason), key)


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        # The child of a worker that died does it itself.
        return
    except OSError as error:
        # The next sweep finds it again.
        _log.warning("wandb_directory_left", directory=str(directory), error=str(error))
