"""Clients of the HTTP interface that post, promote and invalidate, whatever is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.faults.ledger import Ledger

PATIENCE_SECONDS = 120
GROUPS = ("a", "b")


class Client:
    """Asks until it is answered, as the product's own client does."""

    def __init__(
        self,
        name: str,
        *,
        ports: Sequence[int],
        token: str,
        draw: random.Random,
        ledger: Ledger,
        is_over: Callable[[], bool],
    ) -> None:
        self.name, self.ports, self.draw, self.ledger, self.is_over = name, ports, draw, ledger, is_over
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False)
        self._asked_at = 0.0

    def work(self) -> None:
        try:
            count = 0
            while not self.is_over():
                count += 1
                self._one_run(f"{self.name}-{count}")
        except Exception as error:  # noqa: BLE001  a thread that ends silently would make the storm look calm
            self.ledger.is_wrong(f"{self.name}: {error!r}")
        finally:
            self.http.close()

    def _one_run(self, key: str) -> None:
        opened = self.ask("PUT", f"/projects/storm/runs/{key}", {"attempt_id": str(uuid4())})
        evaluation = str(UUID(int=self.draw.getrandbits(128), version=4))
        groups = {group: self.draw.uniform(0.05, 0.2) for group in GROUPS}
        self._post(opened["run_id"], evaluation, groups)
        dice = self.draw.random()
        if dice < 0.4:
            self._crown(evaluation)
        elif dice < 0.6:
            self.ask("POST", f"/runs/{opened['run_id']}/invalidate", {"reason": "a storm"})
            self.ledger.was_marked()
            if self.draw.random() < 0.5:
                self.ask("POST", f"/runs/{opened['run_id']}/restore", {"reason": "it is over"})

    def _post(self, run_id: str, evaluation: str, groups: dict[str, float]) -> None:
        path = f"/runs/{run_id}/evaluations/{evaluation}"
        body = {"suite": "s", "metrics": {"mse": "lower"}, "values": _values(groups)}
        self.ledger.will_send(evaluation, groups)
        self.ask("PUT", path, body)
        self.ledger.was_acknowledged(evaluation, asked_at=self._asked_at)
        dice = self.draw.random()
        if dice < 0.2:
            self.ask("PUT", path, body, expect=(200,))
        elif dice < 0.3:
            other = body | {"values": _values({group: value + 1 for group, value in groups.items()})}
            self.ask("PUT", path, other, expect=(409,))

    def _crown(self, evaluation: str) -> None:
        """By compare-and-swap, so that an answer that was lost is found again by looking."""
        seat = self.ask("GET", "/projects/storm/suites/s/baseline")
        kind = "bootstrap" if seat["version"] == 0 else "override"
        version = seat["version"]
        body = {
            "kind": kind,
            "evaluation": evaluation,
            "expected_version": version,
            "reason": "a storm",
        }
        events = "/projects/storm/suites/s/baseline/events"
        answer = self.ask("POST", events, body, expect=(201, 409))
        if answer.get("version") != version + 1:
            # Somebody was quicker, or it was ourselves and the answer was lost: the events know.
            items = self.ask("GET", f"{events}?limit=200")["items"]
            mine = [each for each in items if each["evaluation"] == evaluation]
            if not any((each["version"], each["kind"]) == (version + 1, kind) for each in mine):
                return
        self.ledger.was_moved(version + 1, kind, evaluation)

    def ask(
        self, method: str, path: str, body: object = None, *, expect: tuple[int, ...] = (200, 201)
    ) -> dict[str, Any]:
        """Again and again until there is an answer; a refusal that must not be is written down."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            url = f"http://127.0.0.1:{self.draw.choice(self.ports)}/api/v1{path}"
            self._asked_at = time.monotonic()
            try:
                answer = self.http.request(method, url, json=body)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code in (502, 503, 504):
                time.sleep(0.05)
                continue
            if answer.status_code not in expect:
                self.ledger.is_wrong(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            document: dict[str, Any] = answer.json()
            return document
        raise TimeoutError(f"{method} {path} was not answered within {PATIENCE_SECONDS} s")


def _values(groups: dict[str, float]) -> list[dict[str, object]]:
    return [{"metric": "mse", "group": group, "value": value, "n": 100} for group, value in groups.items()]
