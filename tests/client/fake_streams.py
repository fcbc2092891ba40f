"""The service's rules for records, in memory: the model that clients are tested against."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stream:
    """One stream's books: every record is stored, rejected or a gap, once."""

    next_idx: int = 0
    logged: int = 0
    stored: dict[int, Any] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    gaps: list[tuple[int, int, str]] = field(default_factory=list)
    heartbeats: int = 0

    @property
    def balances(self) -> bool:
        lost = sum(until - first for first, until, _ in self.gaps)
        return self.next_idx == len(self.stored) + len(self.rejected) + lost

    def values(self, metric: str) -> list[tuple[int, Any]]:
        """(step, value) of a metric, by record."""
        found = []
        for idx in sorted(self.stored):
            record = self.stored[idx]
            if record["type"] == "point" and metric in record["values"]:
                found.append((record["step"], record["values"][metric]))
        return found

    def others(self, kind: str) -> list[dict[str, Any]]:
        return [self.stored[idx] for idx in sorted(self.stored) if self.stored[idx]["type"] == kind]

    def take(self, batch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, answer); a batch that does not fit together is an AssertionError: no client sends one."""
        first, until = batch["first"], batch["first"] + batch["count"]
        told = self._told(batch)
        if first > self.next_idx:
            detail = f"records {self.next_idx} to {first - 1} have to come first"
            return 409, {"title": "Conflict", "status": 409, "detail": detail, "expected": self.next_idx}
        for (start, end), record in sorted(told.items()):
            if record["type"] == "gap":
                if end > self.next_idx:
                    self.gaps.append((max(start, self.next_idx), end, record["reason"]))
            elif start >= self.next_idx:
                self._keep(start, record)
            elif start in self.stored:
                assert self.stored[start] == record, f"record {start} came with two contents"
        self.next_idx = max(self.next_idx, until)
        self.logged = max(self.logged, batch.get("logged", 0))
        self.heartbeats += batch["count"] == 0
        assert self.balances
        again = [{"idx": idx, "code": code} for idx, code in self.rejected.items() if first <= idx < until]
        return 200, {"next_idx": self.next_idx, "rejected": again, "server_time": "x", "stop": False}

    def _keep(self, idx: int, record: dict[str, Any]) -> None:
        if record["type"] == "point" and "reject me" in record["values"]:
            self.rejected[idx] = "bad_value"
        else:
            self.stored[idx] = record

    def _told(self, batch: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for block in batch["blocks"]:
            count = len(block["times"])
            steps = listed(block["steps"], count)
            metrics = {**block.get("metrics", {})}
            for group, values in block.get("groups", {}).items():
                metrics |= {f"{group}:{name}": column for name, column in values.items()}
            for column in metrics.values():
                assert len(column) == count
            for i, idx in enumerate(listed(block["idx"], count)):
                assert (idx, idx + 1) not in found
                found[idx, idx + 1] = {
                    "type": "point",
                    "step": steps[i],
                    "stage": block.get("stage", ""),
                    "split": block.get("split", ""),
                    "values": {name: column[i] for name, column in metrics.items()},
                }
        for record in batch.get("other", ()):
            key = (record["idx"], record.get("until", record["idx"] + 1))
            assert key not in found
            found[key] = {name: value for name, value in record.items() if name not in ("idx", "until")}
        edges = sorted(found)
        assert sum(end - start for start, end in edges) == batch["count"], "not every record is told of once"
        assert all(a[1] == b[0] for a, b in itertools.pairwise(edges)), "records overlap or are missing"
        assert not edges or (edges[0][0], edges[-1][1]) == (batch["first"], batch["first"] + batch["count"])
        return found


def listed(numbers: Any, count: int) -> list[int]:
    if isinstance(numbers, dict):
        return [numbers["start"] + i * numbers["stride"] for i in range(count)]
    assert len(numbers) == count
    return list(numbers)
