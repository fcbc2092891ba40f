"""Trainings that are killed and started again, and a `truerun sync` for what they leave behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.record_ledger import RecordLedger
from tests.faults.trainer import read_account

_TRAINER = Path(__file__).with_name("trainer.py")
PATIENCE_SECONDS = 120


@dataclass
class Trainings:
    """So many at a time, each in a process of its own, all with one spool, as on one machine.

    Args:
        place: Where their spool, their accounts and what they say lie.
        url: What they take for the service.
        program: Run as if it were the trainer.
    """

    place: Path
    url: str
    token: str
    draw: random.Random
    count: int = 2
    program: Path = _TRAINER
    ledger: RecordLedger = field(default_factory=RecordLedger)
    _running: dict[int, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)
    _started: int = 0
    # Whoever keeps them running and whoever kills them are two threads.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def spool(self) -> Path:
        return self.place / "state" / "truerun" / "spool"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")}
        homes = {"XDG_STATE_HOME": str(self.place / "state"), "XDG_CONFIG_HOME": str(self.place / "config")}
        return kept | homes | {"TRUERUN_TOKEN": self.token}

    def keep(self) -> None:
        """Start one wherever none runs: now and then as the next attempt of the run that was there before."""
        with self._lock:
            for slot in range(self.count):
                running = self._running.get(slot)
                if running is None or running[0].poll() is not None:
                    self._start(slot)

    def start(self, *options: str, key: str = "alone", records: int = 500) -> Path:
        """One training that nobody starts again; where its account is."""
        with self._lock:
            return self._spawn(len(self._running), key, records, *options)

    def _start(self, slot: int) -> None:
        if slot not in self._keys or self.draw.random() < 0.5:
            self._keys[slot] = f"training-{self._started}"
        self._spawn(slot, self._keys[slot], self.draw.randint(100, 3000))

    def _spawn(self, slot: int, key: str, records: int, *options: str) -> Path:
        account = self.place / f"{self._started:04d}-{key}.account"
        seed = self.draw.getrandbits(32)
        self._started += 1
        command = [key, str(account), str(self._stop), str(seed), str(records), *options]
        with (self.place / "trainings.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", str(self.program), *command],
                env=self.environ | {"TRUERUN_URL": self.url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running[slot] = (process, account)
        self.ledger.accounts.append(account)
        return account

    @property
    def _stop(self) -> Path:
        return self.place / "stop"

    def kill(self) -> bool:
        """One of them, drawn, at whatever it is doing."""
        with self._lock:
            process, account = self._running[self.draw.choice(sorted(self._running))]
            if process.poll() is not None:
                return False
            process.kill()
            process.wait()
            self.ledger.note_spooled(self.spool, account)
            return True

    def wait(self) -> list[int]:
        """Until all have ended by themselves; their exit statuses."""
        return [process.wait(PATIENCE_SECONDS) for process, _ in self._running.values()]

    def went_back(self) -> bool:
        """Whether one was told that what had been acknowledged is not there."""
        accounts = (read_account(path) for path in self.ledger.accounts)
        return any(each is not None and each.went_back is not None for each in accounts)

    def end(self) -> None:
        """Let each come to its end, and kill what does not."""
        self._stop.touch()
        for process, _ in self._running.values():
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def sync(self, url: str) -> str:
        """Run `truerun sync` until nothing is left; what it said last where something still is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            said = subprocess.run(
                [sys.executable, "-P", "-m", "truerun", "sync", "--url", url],
                env=self.environ,
                capture_output=True,
                text=True,
                check=False,
            )
            # A training that is killed before it could say what run it is leaves a directory and its lock.
            left = [str(each) for each in self.spool.rglob("*") if each.is_file() and each.name != "lock"]
            if said.returncode == 0 and not left:
                return ""
            if time.monotonic() > deadline:
                return f"still in the spool: {left}; {said.stdout} {said.stderr}"
            time.sleep(0.2)
