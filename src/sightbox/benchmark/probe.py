"""One way to run a model, opened and timed call by call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightbox.backends import Backend
from sightbox.benchmark.conditions import energy, peak_bytes
from sightbox.benchmark.timing import time_calls
from sightbox.classifier import Classifier
from sightbox.machine import resident_bytes, usable_cores
from sightbox.model import EXACT
from sightbox.prediction import Prediction

BATCH = 8
"""Most pictures in a batch of the classifier's own; a single client fills none."""

SAME = 1e-3
"""Largest difference of a logit between two answers of one engine to one picture, as a part of the
logits' range: a batch may be added up in another order."""

ALIKE = 0.05
"""The same for variants that are not exact."""

STAGES = ("decode", "preprocess", "queue", "infer", "rest")
"""Where the time of a call goes; ``rest`` is softmax, the best classes and their names."""

Logits = NDArray[np.float32]

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """A way to run a model.

    Attributes:
        backend: Name of a backend.
        variant: Variant of the model.
        device: Where it computes; None is the processor.
    """

    backend: str
    variant: str = EXACT
    device: str | None = None

    def __str__(self) -> str:
        return f"{self.backend} {self.variant}" + (f" on {self.device}" if self.device else "")


@dataclass(frozen=True)
class Clock:
    """What time is told by.

    Attributes:
        wall: Seconds that passed.
        cpu: Seconds of a core that this process took.
        energy: Joules that the processor took, or None where it does not tell.
    """

    wall: Callable[[], float] = perf_counter
    cpu: Callable[[], float] = process_time
    energy: Callable[[], float | None] = energy


@dataclass(frozen=True)
class Visit:
    """What a few calls in a row took.

    Attributes:
        times: Time of each call, ms.
        cpu: Time of cores that a call took, ms; the mean.
        energy: Energy that a call took, J; the mean; None where the machine does not tell.
        stages: For each of `STAGES` the time of each call, ms; empty for calls of the engine alone.
        steady: Whether all answers were those of the start.
    """

    times: list[float]
    cpu: float
    energy: float | None
    stages: dict[str, list[float]] = field(default_factory=dict)
    steady: bool = True


@dataclass(frozen=True)
class Memory:
    """What a process has in RAM, in bytes; 0 where the system does not tell."""

    resident: int
    peak: int


@dataclass(frozen=True)
class Start:
    """What a start took, in seconds, and what was answered then.

    Attributes:
        stages: By name: ``interpreter``, ``import``, ``load`` (and compile), ``first answer``.
        logits: The answers to the pictures, float32 [N, C].
    """

    stages: dict[str, float]
    logits: Logits


class Subject(Protocol):
    """A way that can be opened and timed, in this process or in another one.

    Attributes:
        way: Which one it is.
    """

    way: Way

    def start(self) -> Start:
        """Opens it.

        Raises:
            SightboxError: It does not start; the reason is for people.
        """

    def whole(self, calls: int) -> Visit:
        """Times calls from the bytes of the first picture to the answer."""

    def engine(self, batch: int, calls: int) -> Visit:
        """Times calls of the engine with batches of prepared pictures."""

    def memory(self) -> Memory:
        """Returns what its process has in RAM."""

    def close(self) -> None:
        """Ends it; may be called twice."""


class Probe:
    """A way that is open in this process.

    Args:
        model: Name of the model.
        home: Folder of the models.
        backend: The way's backend, unloaded.
        way: The way.
        pictures: Encoded pictures; single answers are timed with the first one.
        clock: What time is told by.

    Raises:
        SightboxError: It does not start.
    """

    def __init__(
        self,
        model: str,
        home: str,
        backend: Backend,
        way: Way,
        pictures: Sequence[bytes],
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._pictures = pictures
        self._backend = backend
        self._classifier = Classifier(
            model,
            backend,
            variant=way.variant,
            home=home,
            threads=usable_cores(),
            streams=1,
            max_batch=BATCH,
        )
        self._pixels: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._logits: Logits = np.empty(0, np.float32)

    def first(self) -> None:
        """Answers the first picture."""
        self._classifier.classify(self._pictures[0])

    def answers(self) -> Logits:
        """Answers all pictures one by one, float32 [N, C]: those to come are compared with these.

        It comes before all timing.
        """
        prepared = [self._classifier.prepare(each).pixels for each in self._pictures]
        self._pixels = np.stack(prepared)
        self._logits = np.concatenate(
            [self._backend.run(each[None])["logits"] for each in prepared]
        )
        return self._logits

    def whole(self, calls: int) -> Visit:
        """Times calls from the bytes of the first picture to the answer."""
        picture = self._pictures[0]
        times, spent, answers = self._time(lambda: self._classifier.classify(picture), calls)
        expected = int(self._logits[0].argmax())
        steady = all(answer.top.index == expected for answer in answers)
        return Visit(times, *spent, _stages(answers), steady)

    def engine(self, batch: int, calls: int) -> Visit:
        """Times calls of the engine with batches of prepared pictures."""
        which = np.arange(batch) % len(self._pixels)
        images, expected = self._pixels[which], self._logits[which]
        times, spent, found = self._time(lambda: self._backend.run(images)["logits"], calls)
        tolerance = SAME if self._backend.variant == EXACT else ALIKE
        reach = tolerance * float(np.ptp(expected))
        steady = all(
            each.shape == expected.shape and np.abs(each - expected).max() <= reach
            for each in found
        )
        return Visit(times, *spent, steady=steady)

    def memory(self) -> Memory:
        """Returns what this process has in RAM."""
        return Memory(resident_bytes(), peak_bytes())

    def close(self) -> None:
        """Frees what it took."""
        self._classifier.close()

    def _time(
        self, work: Callable[[], T], calls: int
    ) -> tuple[list[float], tuple[float, float | None], list[T]]:
        """Returns times in ms, what a call took of cores in ms and of energy in J, and answers."""
        joules, cpu = self._clock.energy(), self._clock.cpu()
        times, answers = time_calls(work, calls, self._clock.wall)
        spent = 1000 * (self._clock.cpu() - cpu) / calls
        more = self._clock.energy()
        energy = None if joules is None or more is None else (more - joules) / calls
        return times, (spent, energy), answers


def _stages(answers: Sequence[Prediction]) -> dict[str, list[float]]:
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for answer in answers:
        told = answer.timings_ms
        parts = (told.decode, told.preprocess, told.queue, told.infer)
        for stage, part in zip(STAGES, (*parts, told.total - sum(parts)), strict=True):
            stages[stage].append(part)
    return stages
