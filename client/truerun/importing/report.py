"""What an import did: run by run, and what could not be brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from truerun.importing.past import Tally

WORDS = {
    "artifact": "artifacts (files stay where they are)",
    "bad_line": "lines that do not fit the header",
    "bad_name": "values under names that cannot be printed",
    "bad_step": "values without a whole number as step",
    "bad_time": "values without a time",
    "damaged": "event files that end in damage",
    "dataset": "datasets",
    "file": "files",
    "graph": "graphs of a model",
    "histogram": "histograms",
    "history_rows": "history rows that the source counts and did not give",
    "media": "images, audio, video and other media",
    "name_too_long": "values under names of more than 256 characters",
    "not_a_number": "values that are no number",
    "summary_media": "tables and media of the summary",
    "system_metric": "metrics of the machine (--system brings them)",
    "table": "tables",
    "text": "texts",
    "too_large": "values of records that the service does not take",
    "too_many_metrics": "values beyond 5,000 metrics a run",
    "too_many_tags": "tags beyond 100 a run",
    "unfinished": "runs that may still be training (--unfinished brings them)",
}
NOTES = {"own_step": "values at their row's own step, since their step metric gave no whole number"}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one run.

    Args:
        state: `new`, `continued` (part of it was here), `known` (all of it was), `unfinished` (not brought, since it
            may still be training), `refused` (the service does not take it), or `would bring` (a dry run).
        records, points: What was sent this time.
        metrics: How many different ones its history has.
        reason: Why, where it is refused.
    """

    key: str
    name: str
    state: str
    run_id: str | None = None
    records: int = 0
    points: int = 0
    metrics: int = 0
    reason: str = ""
    tally: Tally = field(default_factory=Tally)


def totals(outcomes: Sequence[Outcome], source: Tally) -> Counter[str]:
    """How much could not be brought at all, by reason."""
    total = Counter(source.left_out)
    for outcome in outcomes:
        total.update(outcome.tally.left_out)
    return total


def document(name: str, outcomes: Sequence[Outcome], source: Tally, *, stopped: str) -> dict[str, Any]:
    """The report for a machine; `stopped` says why the import did not come to its end."""
    return {
        "source": name,
        "complete": not stopped,
        "stopped": stopped or None,
        "runs": [
            {
                "key": outcome.key,
                "run_id": outcome.run_id,
                "name": outcome.name,
                "state": outcome.state,
                "records": outcome.records,
                "points": outcome.points,
                "metrics": outcome.metrics,
                "reason": outcome.reason or None,
                "left_out": dict(sorted(outcome.tally.left_out.items())),
                "noted": dict(sorted(outcome.tally.noted.items())),
                "problems": outcome.tally.problems,
            }
            for outcome in outcomes
        ],
        "left_out": dict(sorted(totals(outcomes, source).items())),
        "problems": source.problems,
    }


def lines(outcomes: Sequence[Outcome], source: Tally) -> Iterator[str]:
    """The report's end for people: how many runs of each kind, what could not be brought."""
    states: Mapping[str, int] = Counter(outcome.state for outcome in outcomes)
    points = sum(outcome.points for outcome in outcomes)
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no run"
    yield f"{said}; {points} points"
    left = totals(outcomes, source)
    if left:
        yield "not brought:"
        for reason, count in sorted(left.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {WORDS.get(reason, reason)}: {count}"
    noted: Counter[str] = Counter()
    for outcome in outcomes:
        noted.update(outcome.tally.noted)
    for reason, count in sorted(noted.items()):
        yield f"note: {NOTES.get(reason, reason)}: {count}"
    for problem in [*source.problems, *(each for outcome in outcomes for each in outcome.tally.problems)]:
        yield f"  {problem}"
