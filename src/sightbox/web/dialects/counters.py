"""The statistics extension: what each model was asked since the start, and where the time went.

Source: Triton's ``extension_statistics.md``. All figures are cumulative.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sightbox.batching import Answer
from sightbox.schema import Json

NANOSECONDS = 1_000_000_000

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass
class Recording:
    """What one request takes, in seconds: reading, waiting, computing, writing.

    Attributes:
        answers: What the engine gave.
        seconds: The time of each stage.
    """

    answers: Sequence[Answer] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what runs inside."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begun

    def computed(self, answers: Sequence[Answer]) -> None:
        """Tells what came of the stage ``compute_infer``.

        What it took until the first batch began was waiting; the rest, up to the last answer, was
        computing.
        """
        self.answers = answers
        waited = min(answer.waited for answer in answers)
        self.seconds["queue"] = waited
        self.seconds["compute_infer"] -= waited


@dataclass
class _Sum:
    count: float = 0
    seconds: float = 0

    def add(self, seconds: float, count: float = 1) -> None:
        self.count += count
        self.seconds += seconds

    def to_json(self) -> Json:
        return {"count": round(self.count), "ns": round(self.seconds * NANOSECONDS)}


class Counter:
    """The sums of one model; thread-safe.

    A batch may carry pictures of several requests, and of other routes. Each picture counts as its
    share of it, so that the shares of a whole batch make one execution.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0.0
        self._pictures = 0
        self._executions = 0.0
        self._requests: defaultdict[str, _Sum] = defaultdict(_Sum)
        self._batches: defaultdict[int, _Sum] = defaultdict(_Sum)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Counts the request that runs inside as a success, or as a failure when it raises."""
        recording = Recording()
        begun = time.perf_counter()
        try:
            yield recording
        except BaseException:
            # A failure counts whatever its kind, and goes on to whoever asked.
            with self._lock:
                self._requests["fail"].add(time.perf_counter() - begun)
            raise
        with self._lock:
            self._requests["success"].add(time.perf_counter() - begun)
            self._add(recording)

    def to_json(self, name: str, version: str) -> Json:
        """Returns the statistics of the protocol."""
        with self._lock:
            return {
                "name": name,
                "version": version,
                "last_inference": round(self._last * 1000),
                "inference_count": self._pictures,
                "execution_count": round(self._executions),
                "inference_stats": {
                    stage: self._requests[stage].to_json()
                    for stage in ("success", "fail", *STAGES, "cache_hit", "cache_miss")
                },
                "batch_stats": [
                    {"batch_size": size, "compute_infer": total.to_json()}
                    | {stage: _Sum().to_json() for stage in ("compute_input", "compute_output")}
                    for size, total in sorted(self._batches.items())
                ],
            }

    def _add(self, recording: Recording) -> None:
        self._last = time.time()
        self._pictures += len(recording.answers)
        for stage in STAGES:
            self._requests[stage].add(recording.seconds[stage])
        for answer in recording.answers:
            share = 1 / answer.batch
            self._executions += share
            self._batches[answer.batch].add(answer.ran * share, share)


class Counters:
    """The counters of all models, by name; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: defaultdict[str, Counter] = defaultdict(Counter)

    def of(self, name: str) -> Counter:
        """Returns the counter of a model that is here."""
        with self._lock:
            return self._counters[name]
