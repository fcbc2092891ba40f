"""For how long things are kept."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_DAYS = 36_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A project's rules, in days; None keeps for ever. The audit trail and buried messages are always kept.

    Args:
        archived_days: Archived runs with all they posted, since they were archived.
        progress_evaluations_days: What was measured during training, since it was posted.
        delivered_messages_days: Messages that have arrived, since then.
        resolved_alerts_days: Since they were resolved.
        history_days: Points and events of runs that have ended, since they were last heard of; summaries stay.
    """

    archived_days: int | None = None
    progress_evaluations_days: int | None = None
    delivered_messages_days: int | None = 30
    resolved_alerts_days: int | None = None
    history_days: int | None = None
