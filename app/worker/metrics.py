"""What the worker has done since it started; docs/operations/running.md explains each number."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server


class WorkerMetrics:
    """Counters of one worker; the state of the outbox itself is the API's to tell, which asks the database."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.delivered = self._counter("truerun_worker_delivered_total", "Messages delivered.", "kind")
        self.failed = self._counter("truerun_worker_tries_failed_total", "Deliveries that failed.", "kind")
        self.buried = self._counter("truerun_worker_buried_total", "Messages given up.", "kind")
        self.judged = self._counter("truerun_worker_judged_again_total", "Verdicts given again.")
        self.stumbled = self._counter(
            "truerun_worker_steps_failed_total", "Steps that failed, mostly for want of the database."
        )
        self.last_step = Gauge(
            "truerun_worker_last_step_seconds",
            "When the last step came to an end, in seconds since 1970.",
            registry=self.registry,
        )

    def serve(self, address: str) -> None:
        """Answer Prometheus at `host:port` from a thread of its own."""
        host, _, port = address.rpartition(":")
        start_http_server(int(port), addr=host.strip("[]"), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)
