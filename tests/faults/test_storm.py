"""Processes killed at random under evaluations and records: nothing acknowledged or spooled is lost or twice."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from app.db import make_engine, migrate, session_factory
from app.embedded import embedded_postgres
from app.services.tokens import ensure_local_admin
from tests.faults.ledger import wrongly_judged
from tests.faults.proxy import Mischief
from tests.faults.storm import KINDS, ROOT, Storm, a_storm

# `make test-full` asks for 1,000 and writes the page.
KILLS = int(os.environ.get("FAULTS_KILLS", "60"))
SEED = int(os.environ.get("FAULTS_SEED", "20261121"))
PAGE = ROOT / "docs" / "faults.md"
PATIENCE_SECONDS = 180
RECOVERY_SECONDS = 10.0


def test_what_was_acknowledged_outlives_every_kill(data_dir: Path, tmp_path: Path) -> None:
    # Recovery reads no directory file by file, which after so many kills is most of what it does.
    settings = {"max_connections": "150", "recovery_init_sync_method": "syncfs"}
    with embedded_postgres(data_dir, settings=settings) as postgres:
        migrate.upgrade(postgres.url())
        engine = make_engine(postgres.url())
        with session_factory(engine).begin() as session:
            token = ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4)
        engine.dispose()
        began = time.monotonic()

        with a_storm(postgres, token, tmp_path, seed=SEED) as storm:
            storm.run(KILLS)
            unsettled = _settled(postgres.url())
            found = storm.disagreements()

        assert not found, (SEED, dict(storm.kills), found[:20])
        assert not unsettled, (SEED, unsettled[:20])
        assert storm.kills.total() >= KILLS
        assert storm.kills.keys() == KINDS.keys(), SEED
        # Losing a reply is the one that matters most; the others are left to chance.
        assert storm.proxy.done[Mischief.LOST_REPLY], SEED
        assert storm.trainings.ledger.acknowledged > KILLS, SEED
        slow = [each for each in storm.recoveries if each.fair_seconds > RECOVERY_SECONDS]
        assert not slow, (SEED, slow)
        if "FAULTS_KILLS" in os.environ:
            _write(storm, time.monotonic() - began)


def _settled(database_url: str) -> list[str]:
    """What is still wrong with the verdicts when the worker has had its time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    found = wrongly_judged(database_url)
    while found and time.monotonic() < deadline:
        time.sleep(0.2)
        found = wrongly_judged(database_url)
    return found


def _write(storm: Storm, seconds: float) -> None:
    """The last long run's result, between the marks of the page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    kills = ", ".join(f"{count} of {what}" for what, count in sorted(storm.kills.items()))
    ledger, trainings = storm.ledger, storm.trainings
    mischief = ", ".join(
        f"{count:,} {what}" for what, count in sorted(storm.proxy.done.items()) if what != "none"
    )
    spent = sorted(each.seconds for each in storm.recoveries)
    line = (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, seed {SEED}: {storm.kills.total():,} kills "
        f"({kills}) in {seconds:.0f} s, {len(ledger.acknowledged):,} posts, {len(ledger.events):,} moves of the "
        f"champion, {ledger.marked:,} invalidations and {trainings.ledger.acknowledged:,} records of "
        f"{len(trainings.ledger.accounts):,} training processes acknowledged, "
        f"{sum(map(len, trainings.ledger.spooled.values())):,} records in the spool of a killed training; the proxy "
        f"carried {storm.proxy.done.total():,} exchanges ({mischief}); 0 violations. Recovery: median "
        f"{spent[len(spent) // 2]:.2f} s, longest {spent[-1]:.1f} s by the wall and "
        f"{max(each.fair_seconds for each in storm.recoveries):.1f} s by the fair clock, load {os.getloadavg()[1]:.0f} "
        f"on {os.cpu_count()} cores."
    )
    head, mark, rest = PAGE.read_text().partition("<!-- last run -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    PAGE.write_text(f"{head}{mark}{line}\n{end}{tail}")
