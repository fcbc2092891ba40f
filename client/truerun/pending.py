"""An evaluation on its way, as the thread that waits and the thread that sends share it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID

from truerun.verdict import Verdict


@dataclass(slots=True, kw_only=True, eq=False)
class Pending:
    """An evaluation on its way.

    Args:
        body: Only where the disk did not take it; else it is read from the spool when its turn comes.
        settled: Set when there is something to tell whoever waits: a verdict, a refusal, or that it will take
            long.
        not_before: Earliest next try, in `time.monotonic` seconds.
    """

    evaluation: UUID
    body: bytes | None = None
    settled: threading.Event = field(default_factory=threading.Event)
    verdict: Verdict | None = None
    failures: int = 0
    not_before: float = 0.0
