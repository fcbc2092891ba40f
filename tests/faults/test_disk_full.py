"""No space left on the database's volume: a clear answer, nothing lost, and all is well once there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.api.calling import a_post
from tests.supervisor.running import Up

PATIENCE_SECONDS = 90
VOLUME_MIB = 140
# More than the service needs to go on for a moment, less than one more segment of Postgres' log.
LEFT_BYTES = 3 * 2**20
GROUPS = {f"group {i}": 0.1 for i in range(400)}


@pytest.fixture
def volume(used_once: Path, empty_dir: Path) -> Iterator[Path]:
    """A data directory on a file system of its own, too small for what is coming."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can only be mounted by root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MIB}m,mode=711", "truerun-test", str(empty_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        # No second names across file systems, so this is a real copy.
        source = empty_dir / "data"
        subprocess.run(["cp", "-a", str(used_once), str(source)], check=True)
        yield source
    finally:
        subprocess.run(["umount", "--lazy", str(empty_dir)], check=True)


def free_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def fill(ballast: Path) -> None:
    """Take all room but a little."""
    left = free_bytes(ballast.parent) - LEFT_BYTES
    with ballast.open("wb") as file:
        while left > 0:
            left -= file.write(b"\0" * min(left, 2**20))


class Poster:
    """Posts one evaluation after the other and keeps account of what was acknowledged."""

    def __init__(self, service: Up) -> None:
        self.client = httpx.Client(
            base_url=f"{service.url}/api/v1",
            headers={"Authorization": f"Bearer {service.token}"},
            timeout=PATIENCE_SECONDS,
        )
        opened = self.client.put("/projects/heights/runs/run-1", json={"attempt_id": str(uuid4())})
        self.run_id = opened.raise_for_status().json()["run_id"]
        self.acknowledged: list[str] = []

    def post(self, evaluation_id: str) -> httpx.Response:
        answer = self.client.put(f"/runs/{self.run_id}/evaluations/{evaluation_id}", json=a_post(GROUPS))
        if answer.status_code == 201:
            self.acknowledged.append(evaluation_id)
        return answer

    def is_stored(self, evaluation_id: str) -> bool:
        answer = self.client.get(f"/evaluations/{evaluation_id}")
        return answer.status_code == 200 and len(answer.json()["values"]) == len(GROUPS)


def test_a_full_disk_is_said_nothing_is_lost_and_room_is_all_it_takes(volume: Path, tmp_path: Path) -> None:
    service = Up(volume, tmp_path / "config", TRUERUN_LOG_LEVEL="warning", TRUERUN_RATE_LIMIT_PER_SECOND="0")
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(service.stop)
        service.ready()
        poster = Poster(service)
        at_the_end.callback(poster.client.close)
        assert poster.post(str(uuid4())).status_code == 201
        ballast = volume.parent / "ballast"
        fill(ballast)

        refused, evaluation_id = None, ""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while refused is None:
            assert time.monotonic() < deadline, "the disk never became full"
            evaluation_id = str(uuid4())
            answer = poster.post(evaluation_id)
            refused = None if answer.status_code == 201 else answer
        refusals = [poster.post(evaluation_id).status_code for _ in range(5)]

        ballast.unlink()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while poster.post(evaluation_id).status_code not in (200, 201):
            assert time.monotonic() < deadline, "it does not recover by itself"
            time.sleep(0.2)

        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert any(word in refused.json()["detail"] for word in ("space", "disk", "database"))
        assert set(refusals) <= {503, 200, 201}
        assert all(poster.is_stored(each) for each in poster.acknowledged)
        assert poster.is_stored(evaluation_id)
        assert poster.post(str(uuid4())).status_code == 201
        assert httpx.get(f"{service.url}/readyz", timeout=PATIENCE_SECONDS).status_code == 200
