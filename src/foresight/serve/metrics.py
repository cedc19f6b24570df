"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from foresight.serve.pool import Pool

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one service; gauges are read when they are asked for."""

    def __init__(self) -> None:
        r = self._registry = CollectorRegistry()
        self.requests = Counter(
            "foresight_requests", "Requests by route and status.", ["route", "status"], registry=r
        )
        self.seconds = Histogram(
            "foresight_request_seconds", "Time of a request.", ["route"], registry=r,
            buckets=_SECONDS,
        )  # fmt: skip
        self.first_token = Histogram(
            "foresight_first_token_seconds", "Time to an answer's first token.", ["model"],
            registry=r, buckets=_SECONDS,
        )  # fmt: skip
        self.per_token = Histogram(
            "foresight_token_seconds", "Time of each further token of an answer.", ["model"],
            registry=r, buckets=(0.001, 0.0025, *_SECONDS),
        )  # fmt: skip
        self.tokens = Counter(
            "foresight_tokens", "Tokens of prompts and answers.", ["model", "kind"], registry=r
        )
        self.cancelled = Counter(
            "foresight_cancelled", "Answers whose client left.", ["model"], registry=r
        )
        self.judged = Counter(
            "foresight_judged", "Inputs and outputs by category and what was done.",
            ["category", "side", "action"], registry=r,
        )  # fmt: skip
        self._open = Gauge(
            "foresight_open_requests", "Requests not answered yet.", ["model"], registry=r
        )
        self._drawn = Gauge(
            "foresight_drawn_tokens", "Tokens drawn since the model was loaded.", ["model"],
            registry=r,
        )  # fmt: skip
        self._memory = Gauge(
            "foresight_cache_bytes", "Memory of keys and values.", ["model"], registry=r
        )

    def text(self, pool: Pool) -> bytes:
        for one in pool.all:
            self._open.labels(one.name).set(one.worker.open_requests)
            self._drawn.labels(one.name).set(one.worker.tokens_drawn)
            self._memory.labels(one.name).set(one.worker.cache_bytes)
        return generate_latest(self._registry)
