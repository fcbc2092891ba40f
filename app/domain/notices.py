"""What a person is told about an alert, a move of a champion or a mirror that is stuck, in words for any channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.alerts import TITLE_LENGTH, AlertKind, AlertState, Level
from app.domain.outcomes import Check
from app.domain.sentences import explain, shortened

MOST_LINES = 10
LONGEST_TEXT = 2000


class NoticeKind(StrEnum):
    """Kinds of alerts, and what is told without one."""

    REGRESSION = "regression"
    LIMIT = "limit"
    INTEGRITY = "integrity"
    OVERRIDE = "override"
    TRAINING_LIMIT = "training_limit"
    LOST = "lost"
    ATTEMPTS = "attempts"
    RUN = "run"
    IMPROVEMENT = "improvement"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    MIRROR_STUCK = "mirror_stuck"
    # Told to whoever asked, whatever the routes say.
    TEST = "test"


# Told only to those whose routes name it.
OPT_IN = frozenset({NoticeKind.IMPROVEMENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell.

    Args:
        subject: What it is about, for telling it once: two notices of one subject are the same news.
        title: Under 64 characters.
        lines: What, by how much, in which groups; worst first.
        groups: The groups of the lines, those that were left out too.
        link: The page that shows it; None where the service does not know its own address.
    """

    kind: NoticeKind
    level: Level
    subject: str
    title: str
    lines: tuple[str, ...]
    project: str
    suite: str | None = None
    stage: str | None = None
    run: str | None = None
    groups: frozenset[str] = frozenset()
    link: str | None = None

    @property
    def text(self) -> str:
        """The lines, the place and the link, at most `LONGEST_TEXT` characters."""
        where = " · ".join(
            part
            for part in (
                f"project {self.project}",
                f"suite {self.suite}" if self.suite else "",
                f"stage {self.stage}" if self.stage and self.stage != "final" else "",
                f"run {self.run}" if self.run else "",
            )
            if part
        )
        foot = "\n".join(part for part in (where, self.link or "") if part)
        body = "\n".join(self.lines)
        return f"{shortened(body, LONGEST_TEXT - len(foot) - 2)}\n\n{foot}" if body else foot


def from_alert(
    alert: AlertState,
    *,
    subject: str,
    project: str,
    suite: str | None,
    stage: str | None,
    run: str,
    champion: str | None,
    link: str | None,
) -> Notice:
    """The notice of an alert.

    Args:
        champion: The run that it was measured against, where it was.
    """
    lines = [line.text for line in alert.lines[:MOST_LINES]]
    if len(alert.lines) > MOST_LINES:
        lines.append(f"and {len(alert.lines) - MOST_LINES} more")
    if champion is not None and alert.kind is AlertKind.REGRESSION:
        lines.append(f"measured against the champion {champion}")
    if alert.count > 1:
        lines.append(f"{alert.count} evaluations failed this way")
    return Notice(
        kind=NoticeKind(alert.kind.value),
        level=alert.level,
        subject=subject,
        title=shortened(alert.title, TITLE_LENGTH),
        lines=tuple(lines),
        project=project,
        suite=suite,
        stage=stage,
        run=run,
        groups=frozenset(line.group for line in alert.lines if line.group),
        link=link,
    )


_MOVES: Mapping[str, tuple[NoticeKind, Level, str]] = {
    "bootstrap": (NoticeKind.PROMOTION, Level.INFO, "{run} is the first champion"),
    "promote": (NoticeKind.PROMOTION, Level.INFO, "{run} is the new champion"),
    "override": (NoticeKind.OVERRIDE, Level.WARN, "{run} was made champion although its gate is {gate}"),
    "rollback": (NoticeKind.ROLLBACK, Level.WARN, "champion rolled back to {run}"),
    "invalidate": (NoticeKind.ROLLBACK, Level.WARN, "champion taken back to {run}"),
}


def from_move(
    kind: str,
    *,
    version: int,
    run: str | None,
    previous: str | None,
    gate: str | None,
    sentence: str | None,
    actor: str,
    reason: str | None,
    project: str,
    suite: str,
    stage: str,
    link: str | None,
) -> Notice | None:
    """The notice of a champion's move; None for a move that this release has no words for."""
    known = _MOVES.get(kind)
    if known is None:
        return None
    told, level, words = known
    title = words.format(run=run or "nobody", gate=gate or "unknown")
    lines = [
        sentence or "",
        f"before: {previous}" if previous else "",
        f"by {actor}: {reason}" if reason else f"by {actor}",
    ]
    return Notice(
        kind=told,
        level=level,
        subject=f"baseline:{suite}:{stage}:{version}",
        title=shortened(f"{title} ({suite})", TITLE_LENGTH),
        lines=tuple(line for line in lines if line),
        project=project,
        suite=suite,
        stage=stage,
        run=run,
        link=link,
    )


def from_improvement(
    improved: Sequence[Check],
    *,
    sentence: str,
    evaluation: str,
    champion: str | None,
    project: str,
    suite: str,
    stage: str,
    run: str,
    link: str | None,
) -> Notice:
    """A candidate with an open gate that is better than the champion somewhere.

    Args:
        improved: Its checks with that outcome, at least one.
    """
    best = sorted(improved, key=lambda check: check.worsening or 0.0)
    lines = [sentence, *(explain(check) for check in best[:MOST_LINES])]
    if champion is not None:
        lines.append(f"measured against the champion {champion}")
    return Notice(
        kind=NoticeKind.IMPROVEMENT,
        level=Level.INFO,
        subject=f"improvement:{evaluation}",
        title=shortened(f"{run}: improved in {len(improved)} cells ({suite})", TITLE_LENGTH),
        lines=tuple(lines),
        project=project,
        suite=suite,
        stage=stage,
        run=run,
        groups=frozenset(check.group for check in improved if check.group),
        link=link,
    )


def from_stuck(*, sink: str, reason: str, project: str, link: str | None) -> Notice:
    """Something that was owed to a sink was given up, or the sink is left alone for now."""
    return Notice(
        kind=NoticeKind.MIRROR_STUCK,
        level=Level.ERROR,
        subject=f"sink:{sink}",
        title=shortened(f"deliveries to {sink} are stuck", TITLE_LENGTH),
        lines=(reason, "`truerun deliveries` shows what is owed; an admin can retry it or discard it"),
        project=project,
        link=link,
    )


def from_test(*, message: int, by: str, sink: str, project: str, link: str | None) -> Notice:
    """Somebody wants to know whether anything arrives.

    Args:
        message: The number of the delivery; each test is news of its own.
    """
    return Notice(
        kind=NoticeKind.TEST,
        level=Level.INFO,
        subject=f"test:{message}",
        title=shortened(f"test of sink {sink}", TITLE_LENGTH),
        lines=(f"asked for by {by}; verdicts of the project arrive here too",),
        project=project,
        link=link,
    )


def digest(notices: Sequence[Notice], *, link: str | None) -> Notice:
    """Many notices of one project as one, the worst level first; at least one."""
    order = {Level.ERROR: 0, Level.WARN: 1, Level.INFO: 2}
    by_level = sorted(notices, key=lambda notice: order[notice.level])
    lines = [f"{notice.level.value}: {notice.title}" for notice in by_level[:MOST_LINES]]
    if len(notices) > MOST_LINES:
        lines.append(f"and {len(notices) - MOST_LINES} more")
    first = by_level[0]
    return Notice(
        kind=first.kind,
        level=first.level,
        subject="digest",
        title=shortened(f"{len(notices)} alerts in {first.project}", TITLE_LENGTH),
        lines=tuple(lines),
        project=first.project,
        groups=frozenset().union(*(notice.groups for notice in notices)),
        link=link,
    )
