"""Every number that `/metrics` shows; docs/operations/running.md explains each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.api.seats import Seats
from app.db.health import Counts


class RequestMetrics:
    """What is counted with every request, by route template: paths themselves would be without number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self.requests = Counter(
            "truerun_http_requests_total", "Requests answered.", labels, registry=registry
        )
        self.seconds = Histogram(
            "truerun_http_request_seconds",
            "Time from the request's headers to the end of its answer.",
            labels[:2],
            registry=registry,
        )
        self.in_hand = Gauge("truerun_http_requests_in_hand", "Requests being worked on.", registry=registry)
        self.refused = Counter(
            "truerun_http_refused_total",
            "Requests sent away by a limit or a passing fault, by cause.",
            ("cause",),
            registry=registry,
        )
        self.verdicts = Counter(
            "truerun_verdicts_total", "Evaluations stored and judged, by gate.", ("gate",), registry=registry
        )


class StateGauges:
    """What is read when `/metrics` is asked for: the database's state, the pool's, the release."""

    def __init__(self, registry: CollectorRegistry, *, seats: Seats, version: str) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        build = Gauge("truerun_build_info", "Always 1; the release.", ("version",), registry=registry)
        build.labels(version).set(1)
        self._up = gauge("truerun_database_up", "1 when the database answered this very question.")
        self._owed = gauge("truerun_outbox_owed", "Messages not yet delivered.")
        self._retried = gauge("truerun_outbox_retried", "Of these, the ones whose last try failed.")
        self._buried = gauge("truerun_outbox_buried", "Messages given up.")
        self._oldest = gauge(
            "truerun_outbox_oldest_owed_seconds", "Age of the oldest message not delivered: the worker's lag."
        )
        self._open_alerts = gauge("truerun_alerts_open", "Alerts not resolved.")
        self._by_kind = {
            part: Gauge(name, text, ("kind",), registry=registry)
            for part, name, text in (
                ("owed", "truerun_sink_owed", "Messages not yet delivered to sinks of the kind."),
                ("buried", "truerun_sink_buried", "Messages to them that were given up."),
                ("paused", "truerun_sink_paused", "Sinks of the kind that take nothing for now."),
                (
                    "oldest_owed_seconds",
                    "truerun_sink_oldest_owed_seconds",
                    "Age of the oldest of them: their lag.",
                ),
            )
        }
        most = gauge("truerun_database_connections_most", "Connections that requests may use at once.")
        most.set(seats.count)
        in_use = gauge("truerun_database_connections_in_use", "Connections that requests use.")
        in_use.set_function(lambda: seats.taken)
        waited = gauge("truerun_database_connections_waited_for", "Requests that wait for a connection.")
        waited.set_function(lambda: seats.waiting)

    def note(self, counts: Counts | None) -> None:
        """Take over what the database said; None when it did not answer."""
        self._up.set(0 if counts is None else 1)
        if counts is None:
            # What is not known is not zero.
            for gauge in (self._owed, self._retried, self._buried, self._oldest, self._open_alerts):
                gauge.set(float("nan"))
            for by_kind in self._by_kind.values():
                by_kind.clear()
            return
        self._owed.set(counts.owed)
        self._retried.set(counts.retried)
        self._buried.set(counts.buried)
        self._oldest.set(counts.oldest_owed_seconds)
        self._open_alerts.set(counts.open_alerts)
        for each in counts.kinds:
            for part, by_kind in self._by_kind.items():
                by_kind.labels(each.kind).set(getattr(each, part))
