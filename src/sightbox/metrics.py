"""What the server counts and measures, in the forms that Prometheus reads.

Counters and histograms grow with each request; gauges are read when somebody asks. Names follow
Prometheus' rules: a prefix of our own, base units, ``_total`` for what only grows
(prometheus.io/docs/practices/naming). Labels take few values: routes are templates, never what a
client sent.
"""

import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sightbox.tracing import Trace

PREFIX = "sightbox"

MEDIA_TYPES = ("text/plain", "application/openmetrics-text")
"""The forms that there are; the first one for those who do not mind."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper bounds of times: from what a probe takes to the longest wait by default."""

PICTURES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of batch sizes: up to the largest `max_batch`."""

TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Kind:
    """A row of the table of metrics.

    Attributes:
        type: Prometheus' word for it.
        labels: Names of its labels.
        meaning: What it tells.
    """

    type: str
    labels: tuple[str, ...]
    meaning: str


TABLE: Mapping[str, Kind] = {
    "requests_total": Kind(
        "counter",
        ("method", "route", "status"),
        "Requests that were answered. The route is its template; none where no route fits, refused "
        "where the request was not read to its end.",
    ),
    "request_duration_seconds": Kind(
        "histogram", ("route",), "Time from a request's last byte to its response."
    ),
    "stage_duration_seconds": Kind(
        "histogram",
        ("stage",),
        "Time that a picture takes in a stage; accept and encode once a request.",
    ),
    "pictures_total": Kind("counter", ("model",), "Pictures that were answered."),
    "refusals_total": Kind(
        "counter", ("code",), "Errors that clients were told, pictures of a form each, by code."
    ),
    "queue_depth": Kind("gauge", ("model", "variant"), "Pictures that wait for the engine."),
    "queue_capacity": Kind("gauge", ("model", "variant"), "Most pictures that may wait."),
    "batch_size": Kind(
        "histogram",
        ("model", "variant"),
        "Pictures in a batch that the engine answered; the readiness probe's picture is one.",
    ),
    "model_info": Kind("gauge", ("model", "variant", "backend"), "1 for each loaded model."),
    "model_memory_bytes": Kind(
        "gauge", ("model", "variant"), "Memory of a loaded model, where it is known."
    ),
    "ready": Kind("gauge", (), "1 when the engine takes pictures and the server does not stop."),
    "connections": Kind("gauge", (), "Open connections."),
    "buffered_bytes": Kind("gauge", (), "Bytes of request bodies in memory."),
    "buffered_limit_bytes": Kind("gauge", (), "Most bytes of request bodies in memory."),
    "process_threads": Kind("gauge", (), "Threads of the process, those of the runtimes too."),
    "build_info": Kind("gauge", ("version", "python"), "1; what runs."),
}
"""Every metric of our own, without the prefix."""


@dataclass(frozen=True)
class ModelState:
    """A loaded model.

    Attributes:
        name: Its name.
        variant: The variant of it.
        backend: What runs it.
        waiting: Pictures that wait for it.
        capacity: Most pictures that may.
        batches: Size of a batch -> how many of that size were answered.
        memory: Bytes that it takes; None when that is not known.
    """

    name: str
    variant: str
    backend: str
    waiting: int
    capacity: int
    batches: Mapping[int, int]
    memory: int | None = None


@dataclass(frozen=True)
class ServerState:
    """What the gauges show.

    Attributes:
        version: Version of Sightbox.
        ready: Whether pictures are taken.
        models: The loaded models.
        connections: Number of open connections.
        buffered: Bytes of request bodies in memory.
        buffered_limit: Most of them.
    """

    version: str
    ready: bool
    models: Sequence[ModelState]
    connections: int
    buffered: int
    buffered_limit: int


class Metrics:
    """The metrics of one application; thread-safe.

    Args:
        read_state: Reads what the gauges show.
    """

    def __init__(self, read_state: Callable[[], ServerState]) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests_total")
        self._durations = self._histogram("request_duration_seconds")
        self._stages = self._histogram("stage_duration_seconds")
        self._pictures = self._counter("pictures_total")
        self._refusals = self._counter("refusals_total")
        self._registry.register(_Gauges(read_state))
        ProcessCollector(namespace=PREFIX, registry=self._registry)

    def record(self, trace: Trace, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request.

        Args:
            trace: What it went through.
            method: Its method, one of a few.
            route: Template of its route.
            status: Status of its response.
            seconds: How long it took.
        """
        self._requests.labels(method, route, status).inc()
        self._durations.labels(route).observe(seconds)
        for stage, duration in trace.stages:
            self._stages.labels(stage).observe(duration)
        for model in trace.answered:
            self._pictures.labels(model).inc()
        for code in trace.problems:
            self._refusals.labels(code).inc()

    def expose(self, media_type: str = MEDIA_TYPES[0]) -> tuple[bytes, str]:
        """Returns all metrics, and their content type.

        Args:
            media_type: One of `MEDIA_TYPES`.
        """
        encode, content_type = choose_encoder(media_type)
        return encode(_WithoutBirthdays(self._registry)), content_type

    def _counter(self, name: str) -> Counter:
        kind = TABLE[name]
        return Counter(f"{PREFIX}_{name}", kind.meaning, kind.labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        kind = TABLE[name]
        return Histogram(
            f"{PREFIX}_{name}",
            kind.meaning,
            kind.labels,
            registry=self._registry,
            buckets=SECONDS,
        )


def metrics_table() -> str:
    """Returns the table of metrics in Markdown."""
    rows = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for name, kind in TABLE.items():
        labels = ", ".join(f"`{label}`" for label in kind.labels)
        rows.append(f"| `{PREFIX}_{name}` | {kind.type} | {labels} | {kind.meaning} |")
    return "\n".join(rows) + "\n"


class _Gauges(Collector):
    """What is read when somebody asks."""

    def __init__(self, read_state: Callable[[], ServerState]) -> None:
        self._read_state = read_state

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges, and the histogram of the batches, which batchers count themselves."""
        state = self._read_state()
        yield _gauge("ready", ((), state.ready))
        yield _gauge("connections", ((), state.connections))
        yield _gauge("buffered_bytes", ((), state.buffered))
        yield _gauge("buffered_limit_bytes", ((), state.buffered_limit))
        yield _gauge("process_threads", ((), _count_threads()))
        yield _gauge("build_info", ((state.version, platform.python_version()), 1))
        models = {(model.name, model.variant): model for model in state.models}
        yield _gauge("queue_depth", *((key, one.waiting) for key, one in models.items()))
        yield _gauge("queue_capacity", *((key, one.capacity) for key, one in models.items()))
        yield _gauge("model_info", *(((*key, one.backend), 1) for key, one in models.items()))
        yield _gauge(
            "model_memory_bytes",
            *((key, one.memory) for key, one in models.items() if one.memory is not None),
        )
        yield _batches(models)


class _WithoutBirthdays(Collector):
    """A registry without the time at which each counter was made.

    As text those are twice as many series, and a restart shows in the start time of the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


def _gauge(name: str, *samples: tuple[tuple[str, ...], float]) -> Metric:
    kind = TABLE[name]
    family = GaugeMetricFamily(f"{PREFIX}_{name}", kind.meaning, labels=kind.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _batches(models: Mapping[tuple[str, str], ModelState]) -> Metric:
    kind = TABLE["batch_size"]
    family = HistogramMetricFamily(f"{PREFIX}_batch_size", kind.meaning, labels=kind.labels)
    for key, model in models.items():
        sizes = model.batches
        buckets = [
            (str(bound), float(sum(count for size, count in sizes.items() if size <= bound)))
            for bound in (*map(float, PICTURES), float("inf"))
        ]
        buckets[-1] = ("+Inf", buckets[-1][1])
        total = sum(size * count for size, count in sizes.items())
        family.add_metric(key, buckets, total)
    return family


def _count_threads() -> int:
    """Returns the number of threads; elsewhere than on Linux, of those that Python knows."""
    try:
        return len(list(TASKS.iterdir()))
    except OSError:
        return threading.active_count()
